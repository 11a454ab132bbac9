// @ts-check
// Draws the figures of a comparison, which does not change: ``data-figure`` is the id of its JSON.
import {island} from "./island.js";

for (const place of document.querySelectorAll("[data-figure]")) {
  const own = /** @type {HTMLElement} */ (place);
  const figure = /** @type {{data: object[], layout: object} | null} */ (island(own.dataset.figure ?? ""));
  if (figure) Plotly.newPlot(own, figure.data, figure.layout, {responsive: true, displayModeBar: false});
}
