"use strict";
// Without this script the page still reads: every figure has its table.
(() => {
  const coarse = matchMedia("(pointer: coarse)").matches;
  const narrow = matchMedia("(max-width: 40rem)");
  const plots = [...document.querySelectorAll(".plot")];

  function mark(number) {
    document.querySelectorAll("tr.hit").forEach(row => row.classList.remove("hit"));
    document.querySelectorAll(`tr[data-number="${number}"]`).forEach(row => row.classList.add("hit"));
  }

  // On a narrow screen the axes have smaller letters.
  function fitted(layout) {
    if (!narrow.matches) return layout;
    const small = structuredClone(layout);
    for (const name of ["xaxis", "yaxis", "yaxis2"].filter(name => name in small)) {
      small[name].tickfont = {size: 10};
      small[name].title.font = {size: 11};
    }
    return small;
  }

  // A line of the key becomes a button that hides what it stands for.
  function toggle(item, plot) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.append(...item.childNodes);
    item.append(button);
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      const traces = plot.data.flatMap((trace, index) => trace.legendgroup === item.dataset.group ? [index] : []);
      Plotly.restyle(plot, {visible: shown}, traces);
    });
  }

  for (const plot of plots) {
    const {data, layout} = JSON.parse(plot.nextElementSibling.textContent);
    if (coarse) layout.dragmode = false; // a finger on a figure scrolls the page
    Plotly.newPlot(plot, data, fitted(layout), {responsive: true, displayModeBar: false});
    plot.parentElement.querySelectorAll("[data-group]").forEach(item => toggle(item, plot));
    narrow.addEventListener("change", () => Plotly.react(plot, data, fitted(layout)));
    plot.on("plotly_hover", event => mark(event.points[0].customdata));
    plot.on("plotly_click", event => {
      const row = document.getElementById(`c${event.points[0].customdata}`);
      if (row) location.hash = row.id;
    });
  }

  // A row of the front points at its mark.
  document.querySelectorAll("#front tr[data-number]").forEach(row => row.addEventListener("mouseenter", () => {
    const number = Number(row.dataset.number);
    document.querySelectorAll("#front .plot").forEach(plot => {
      const curve = plot.data.findIndex(trace => trace.hovertext && trace.customdata.includes(number));
      if (curve >= 0) Plotly.Fx.hover(plot, [{curveNumber: curve, pointNumber: plot.data[curve].customdata.indexOf(number)}]);
    });
  }));

  function key(row, column) {
    const cell = row.cells[column];
    const value = cell.dataset.sort;
    return value === undefined ? cell.textContent.trim().toLowerCase() : Number(value);
  }

  function compare(a, b) {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // numbers first, gaps last
    return typeof a === "number" ? a - b : a.localeCompare(b);
  }

  function sort(head, column) {
    const body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    head.parentElement.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map(row => [key(row, column), row]);
    rows.sort(([a], [b]) => (down && typeof a === typeof b ? -1 : 1) * compare(a, b));
    body.append(...rows.map(([, row]) => row));
  }

  document.querySelectorAll("table.sortable thead tr").forEach(heads => [...heads.cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(head.firstChild);
    head.prepend(button);
    button.addEventListener("click", () => sort(head, column));
  }));

  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach(part => { part.open = true; });
    plots.forEach(plot => Plotly.relayout(plot, {width: 680}));
  });
  addEventListener("afterprint", () => plots.forEach(plot => Plotly.relayout(plot, {width: null, autosize: true})));
})();
