// The rows of a charging profile's periods: add, remove, move, sort. The preview itself is fetched by htmx.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const editor of document.querySelectorAll("[data-periods]")) {
    const rows = editor.querySelector("tbody");
    // Empty rows are for browsers without scripts; one stays where there is no other.
    for (const spare of rows.querySelectorAll("[data-spare]")) {
      if (rows.rows.length > 1) {
        spare.remove();
      }
    }
    editor.classList.add("csms-periods-live");
    editor.addEventListener("click", (event) => edit(editor, rows, event));
  }
});

function edit(editor, rows, event) {
  const button = event.target.closest("button");
  const row = button?.closest("tr");
  if (!button) {
    return;
  }
  if (button.dataset.addPeriod !== undefined) {
    rows.append(editor.querySelector("template").content.cloneNode(true));
    rows.lastElementChild.querySelector("input").focus();
    return;
  }
  if (button.dataset.removePeriod !== undefined) {
    const neighbour = row.nextElementSibling || row.previousElementSibling;
    if (neighbour) {
      row.remove();
      neighbour.querySelector("input").focus();
    } else {
      row.querySelectorAll("input").forEach((input) => { input.value = ""; });
    }
  } else if (button.dataset.move) {
    const other = button.dataset.move === "1" ? row.nextElementSibling : row.previousElementSibling;
    if (!other) {
      return;
    }
    if (button.dataset.move === "1") {
      other.after(row);
    } else {
      other.before(row);
    }
    button.focus();
  } else if (button.dataset.sortPeriods !== undefined) {
    [...rows.rows].sort((one, next) => startOf(one) - startOf(next)).forEach((each) => rows.append(each));
  } else {
    return;
  }
  htmx.trigger(editor.closest("form"), "csms:edited");
}

// Seconds of a row; rows without a start go last. "8:30" is hours and minutes.
function startOf(row) {
  const text = row.querySelector("input").value.trim();
  const [hours, minutes, seconds] = text.split(":").map(Number);
  const start = text.includes(":") ? hours * 3600 + minutes * 60 + (seconds || 0) : hours;
  return text && Number.isFinite(start) ? start : Infinity;
}
