// What is folded away on the screen is printed: open it before, fold it again after.

(() => {
  "use strict";

  let opened = [];

  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("article details:not([open])")];
    for (const block of opened) block.open = true;
  });

  window.addEventListener("afterprint", () => {
    for (const block of opened) block.open = false;
    opened = [];
  });
})();
