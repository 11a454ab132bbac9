// @ts-check
// On every page: the theme, logging out, buttons that ask the API for something, menus, parts that htmx fetches.
import {Problem, api, headers, say} from "./api.js";
import "./parts.js";

const THEMES = ["system", "light", "dark"];

function theme() {
  const button = document.getElementById("theme");
  if (!button) return;
  const show = () => {
    const now = document.documentElement.dataset.theme ?? "system";
    button.setAttribute("aria-label", `Theme: ${now === "system" ? "as the system has it" : now}`);
    button.textContent = {system: "◐", light: "☀", dark: "☾"}[now] ?? "◐";
  };
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "system";
    const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    if (next === "system") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem("nas-theme");
    } else {
      document.documentElement.dataset.theme = next;
      localStorage.setItem("nas-theme", next);
    }
    show();
    document.dispatchEvent(new CustomEvent("nas:theme"));
  });
  show();
}

function logout() {
  document.getElementById("logout")?.addEventListener("click", async () => {
    await api("/session", {method: "DELETE"});
    location.assign("/login?out=1");
  });
}

/**
 * A button with ``data-ask`` posts to that path of the API; with ``data-confirm`` it asks first, in the dialog of that
 * id; with ``data-then`` the page goes there afterwards.
 */
function asks() {
  document.addEventListener("click", async event => {
    const target = event.target instanceof Element ? event.target.closest("[data-ask]") : null;
    if (!(target instanceof HTMLElement)) return;
    const {ask, method, confirm, then, done} = target.dataset;
    if (confirm && !(await confirmed(confirm))) return;
    target.setAttribute("aria-busy", "true");
    try {
      await api(/** @type {string} */ (ask), {method: method ?? "POST"});
      say(done ?? "Asked for.");
      if (then) location.assign(then);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      say(error.message);
    } finally {
      target.removeAttribute("aria-busy");
    }
  });
}

/** @param {string} id of a dialog, whose form closes it with the value ``yes`` or another */
function confirmed(id) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById(id));
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise(resolve => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), {once: true});
  });
}

/** A menu closes by Escape, which gives back the focus, and when focus or pointer go elsewhere. */
function menus() {
  document.addEventListener("keydown", event => {
    const menu = event.key === "Escape" && event.target instanceof Element && event.target.closest("details.menu[open]");
    if (!menu) return;
    menu.removeAttribute("open");
    menu.querySelector("summary")?.focus();
  });
  for (const kind of ["focusin", "pointerdown"]) {
    document.addEventListener(kind, ({target}) => {
      for (const menu of document.querySelectorAll("details.menu[open]")) {
        if (target instanceof Node && !menu.contains(target)) menu.removeAttribute("open");
      }
    });
  }
}

/** What has the focus is seen whole, also in a table that is scrolled sideways; browsers are content with a part of it. */
function sights() {
  document.addEventListener("focusin", ({target}) => {
    if (!(target instanceof HTMLElement) || !target.matches(".scroll *:focus-visible")) return;
    target.scrollIntoView({block: "nearest", inline: "nearest"});
  });
}

document.addEventListener("htmx:config:request", event => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  Object.assign(detail.ctx.request.headers, headers());
});

theme();
logout();
asks();
menus();
sights();
