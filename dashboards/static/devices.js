// @ts-check
// Has the device profiled, and waits for it.
import {Problem, api} from "./api.js";

/** @typedef {{id: string, state: string, detail: string}} Job */

const LOOK_AGAIN = 2000;
const button = /** @type {HTMLButtonElement | null} */ (document.getElementById("profile"));

/** @param {string} id @param {string} text nothing hides it */
function tell(id, text) {
  const place = document.getElementById(id);
  if (!place) return;
  place.textContent = text;
  place.hidden = !text;
}

/** @param {boolean} busy */
function mark(busy) {
  if (!button) return;
  button.disabled = busy;
  button.setAttribute("aria-busy", String(busy));
}

async function profile() {
  mark(true);
  tell("profile-problem", "");
  try {
    /** @type {Job} */
    let job = await api("/profiles", {method: "POST", body: {device: "auto", full: true}});
    while (job.state !== "done" && job.state !== "failed") {
      tell("profile-busy", `${job.detail || "A worker is at it"} …`);
      await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN));
      job = await api(`/profiles/${encodeURIComponent(job.id)}`);
    }
    if (job.state === "done") location.reload();
    else tell("profile-problem", job.detail || "It failed; the server's log says why.");
  } catch (error) {
    if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error; // a network that fails is a TypeError
    tell("profile-problem", error instanceof Problem ? error.message : "The server does not answer.");
  } finally {
    tell("profile-busy", "");
    mark(false);
  }
}

button?.addEventListener("click", profile);
