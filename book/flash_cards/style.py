r"""How a card looks: two templates and one sheet, for light and dark, wide and narrow."""

from __future__ import annotations

_HEAD = '<div class="place">{{Place}}</div>\n<div class="prompt">{{Prompt}}</div>\n'
_RULE = '<hr id="answer">\n'


def _layer(label: str, field: str) -> str:
    return f'<h4>{label}</h4>\n<div class="layer">{{{{{field}}}}}</div>\n'


QUESTION = (
    _HEAD,
    _HEAD
    + _RULE
    + _layer("Mechanism", "Mechanism")
    + _layer("Invariant and arithmetic", "Arithmetic")
    + _layer("Consequence in operation", "Consequence"),
)
FACT = (
    _HEAD,
    _HEAD
    + _RULE
    + '<div class="layer">{{Answer}}</div>\n'
    + '{{#Source}}<div class="source">{{Source}}</div>{{/Source}}\n',
)

CSS = """
.card {
  --ink: #23272f; --muted: #5d6470; --rule: #e4e0d8; --paper: #fefdfb; --code: #f3f1ec;
  --accent: #b4530f; --keyword: #8a3b8f; --name: #1c5ba3; --string: #3f7a2e; --number: #a8580c;
  font: 18px/1.5 "IBM Plex Serif", Charter, Georgia, serif;
  color: var(--ink); background: var(--paper); text-align: left;
  max-width: 40em; margin: 0 auto; padding: 0.5em 1em 2em;
}
.nightMode.card, .nightMode .card, .night_mode .card {
  --ink: #dcdfe4; --muted: #9aa2ae; --rule: #2f353e; --paper: #15181d; --code: #1d2127;
  --accent: #eba065; --keyword: #d5a0e0; --name: #86b6ee; --string: #a3cf8e; --number: #eba065;
}
.place, h4, .ask, .source { font-family: "IBM Plex Sans", system-ui, sans-serif; }
.place, .source, .ask { font-size: 0.78em; color: var(--muted); }
.place { margin-bottom: 0.8em; }
.ask { margin: 0; }
.prompt { font-size: 1.06em; }
.prompt > p:first-child { margin-top: 0; }
hr { border: 0; border-top: 1px solid var(--rule); margin: 1.2em 0; }
h4 { font-size: 0.82em; color: var(--accent); margin: 1.3em 0 0.2em; }
.layer > p:first-child { margin-top: 0; }
.value { font-size: 1.5em; font-weight: 600; margin: 0; }
code { font: 0.87em/1.45 "IBM Plex Mono", ui-monospace, Menlo, Consolas, monospace; }
p code, li code, td code {
  background: var(--code); border-radius: 3px; padding: 0.05em 0.25em; overflow-wrap: anywhere;
}
pre.code { background: var(--code); border-radius: 6px; padding: 0.7em 0.9em; overflow-x: auto; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: 0.25em 0.8em 0.25em 0; border-bottom: 1px solid var(--rule); }
.k-k, .k-kn, .k-kc, .k-ow { color: var(--keyword); }
.k-nf, .k-nc, .k-nn { color: var(--name); }
.k-s, .k-s1, .k-s2, .k-sd { color: var(--string); }
.k-m, .k-mi, .k-mf { color: var(--number); }
.k-c, .k-c1 { color: var(--muted); font-style: italic; }
"""
