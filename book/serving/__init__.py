r"""The book on loopback: built, served, built again when a source is saved.

| module | what it does |
|---|---|
| `building` | runs Sphinx as a process of its own, shows how far it is, collects what it warns of |
| `mirror` | keeps the pages that are shown apart from those that are being written |
| `watching` | notices a saved source |
| `events` | tells open pages what has changed |
| `server` | serves the pages, and with them the script that reloads them |

Nothing of this is in a published page: the script is added when a page is sent, and the built files
stay as they are.
"""
