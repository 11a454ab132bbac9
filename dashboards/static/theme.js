// @ts-check
// Before anything is drawn: the theme that was chosen, if one was.
"use strict";
(() => {
  const chosen = localStorage.getItem("nas-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
