// @ts-check
import {headers} from "./api.js";
import {refusal} from "./refusal.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("login"));
const refused = /** @type {HTMLElement} */ (document.getElementById("refused"));
const token = /** @type {HTMLInputElement} */ (document.getElementById("token"));
const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));

/** @param {string} text */
function refuse(text) {
  refused.textContent = text;
  refused.hidden = false;
  token.setAttribute("aria-invalid", "true");
  token.select();
}

form.addEventListener("submit", async event => {
  event.preventDefault();
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  refused.hidden = true;
  token.removeAttribute("aria-invalid");
  try {
    const answer = await fetch("/api/v1/session", {
      method: "POST",
      headers: {"Content-Type": "application/json", ...headers()},
      body: JSON.stringify({token: token.value.trim()}),
    });
    if (answer.ok) return location.replace(form.dataset.next ?? "/");
    refuse(refusal(answer.status, Number(answer.headers.get("Retry-After") ?? 0)));
  } catch {
    refuse("The server does not answer. Try again in a moment.");
  }
  button.removeAttribute("aria-busy");
});
