// Sets the theme before anything is painted: what was chosen here before, or what
// the system prefers.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("kaizen.theme");
  } catch {
    // Storage may be forbidden: then nothing was chosen.
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    document.documentElement.dataset.theme = chosen === "dark" || chosen === "light" ? chosen : dark.matches ? "dark" : "light";
    document.dispatchEvent(new Event("theme"));
  };
  dark.addEventListener("change", apply);
  apply();
  globalThis.switchTheme = () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("kaizen.theme", chosen);
    } catch {
      // As above: it holds until the page is closed.
    }
    apply();
  };
})();
