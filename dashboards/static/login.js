// @ts-check
import {headers} from "./api.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("login"));
const refused = /** @type {HTMLElement} */ (document.getElementById("refused"));

form.addEventListener("submit", async event => {
  event.preventDefault();
  refused.hidden = true;
  const token = String(new FormData(form).get("token") ?? "").trim();
  const answer = await fetch("/api/v1/session", {
    method: "POST",
    headers: {"Content-Type": "application/json", ...headers()},
    body: JSON.stringify({token}),
  });
  if (answer.ok) {
    location.assign(form.dataset.next ?? "/");
    return;
  }
  const told = await answer.json();
  refused.textContent = told.detail;
  refused.hidden = false;
});
