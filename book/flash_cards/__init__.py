r"""Flash cards for Anki, built from what the book already knows: `python -m book.flash_cards OUT`.

Nothing is written for the cards. The questions come from the interview pages, the invariants from
the engine's registry, the numbers from the registry of quantities, computed. See
{py:mod}`book.flash_cards.notes` for what makes a note and its id, {py:mod}`book.flash_cards.markup`
for how Markdown gets onto a card, {py:mod}`book.flash_cards.package` for the file.
"""
