// @ts-check
// Buttons with ``data-copy`` copy the code beside them.
import {say} from "./api.js";

document.addEventListener("click", async event => {
  const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
  const code = button?.parentElement?.querySelector("code");
  if (!code) return;
  const done = await copied(code);
  say(done ? "Copied." : "Press Ctrl+C: this browser lets no page copy without https.");
});

/** @param {Element} code @returns {Promise<boolean>} without the clipboard the text is at least selected */
async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent ?? "");
    return true;
  } catch {
    getSelection()?.selectAllChildren(code);
    return false;
  }
}
