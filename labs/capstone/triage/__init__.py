r"""The Gauntlet: which of three issues is worth your next two weeks?

```text
capstone triage 43736.json 42966.json 23697.json --prs prs.json --map MAP.md
```

An issue goes through five checks, cheapest first, and leaves at the first that it fails:

1. **claimed?** Is it open, free, and not being fixed already? Upstream's rules for duplicates
   ({up}`AGENTS.md#Duplicate-work checks`) are this check, and so is their last sentence: what
   cannot be decided has not passed.
2. **reproducible?** Can it be seen on the machine that you have?
3. **within your map?** Does it lie in files for which your MAP.md has a sentence?
4. **testable?** Is there a place for its test, and a step of CI that would run it?
5. **reviewable?** Is it a change that somebody will review, or a design to be agreed on first?

The exports come from `gh`; `capstone triage --commands NUMBER` prints the commands with the fields.
What a program can read from them and from the pinned tree it decides. What no program can know it
asks, one question at a time, or takes from a file (`--answers`). Every verdict has its evidence:
the rule, and where in the export it stands as a position, never the text. The journal keeps both,
with the minutes that the check took you.

A whole session, as it is printed, is kept in `session.txt` beside this file, and a test compares
the two. How often the checks agree with a person on real issues, `--agreement` shows.

An issue is somebody's text. It is searched for words and names, never run and never followed.
"""
