// One way to keep something in this browser, for progress and for recall.
//
//   const store = insideTheEngine.store(name, version, clean);
//   store.load()      what clean() makes of the kept object, or of {} when there is none to use
//   store.save(data)  keeps {version, ...data}
//
// The key is "inside-the-engine:<name>". What is there and is not an object of this version (damage,
// another program, a later edition) is never used and never lost: it is copied to "<key>:set-aside"
// before the first write. Where the browser refuses to store, what was saved lasts as long as the
// page. clean() must return only what it has checked.

(() => {
  "use strict";

  const space = (window.insideTheEngine ??= {});

  function read(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // a private window may refuse
    }
  }

  function parsed(text) {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  space.isMap = (x) => typeof x === "object" && x !== null && !Array.isArray(x);

  space.store = (name, version, clean) => {
    const key = `inside-the-engine:${name}`;
    let unsaved = null;

    function kept() {
      const data = parsed(read(key));
      return space.isMap(data) && data.version === version ? data : null;
    }

    return {
      key,
      isEmpty: () => read(key) === null,
      load: () => unsaved ?? clean(kept() ?? {}),
      save(data) {
        try {
          const before = read(key);
          if (before !== null && !kept()) localStorage.setItem(`${key}:set-aside`, before);
          localStorage.setItem(key, JSON.stringify({ version, ...data }));
        } catch {
          unsaved = data;
        }
      },
    };
  };

  // What an earlier build kept under a key and in a form of its own; it is read once.
  space.takeOver = (key, use) => {
    const data = parsed(read(key));
    if (data === undefined || data === null) return;
    use(data);
    try {
      localStorage.removeItem(key);
    } catch {
      // It will be taken over again next time, with the same result.
    }
  };
})();
