
"use strict";
// The moving parts of the page. This script adds up changes from the page itself and decides nothing: it knows no rule.
// Everything it shows goes in as text; the page's policy would refuse anything else.
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const data = JSON.parse(byId("data").textContent);
  const { events, versions, actors, cuts } = data;
  const rows = all("tbody tr");
  const drawings = all("svg.timeline");
  const marks = drawings.map((drawing) => all(".marks .mark", drawing));
  const drawn = drawings.map((drawing) => all("[data-i]", drawing));
  const slider = byId("slider");
  const position = byId("position");
  let counted = events.length;
  let shown = events.map(() => true);

  // The state after a number of events.
  const stateAfter = (count) => {
    const state = { versions: new Array(versions.length).fill(null), primary: -1, since: -1, exists: false };
    let role = "no model";
    for (let index = 0; index < count; index += 1) {
      for (const [lane, status, stage, isPrimary] of events[index].changes) {
        state.versions[lane] = { status, stage };
        if (isPrimary) state.primary = lane;
        else if (state.primary === lane) state.primary = -1;
      }
      state.exists = events[index].exists;
      const now = state.exists ? state.primary : "no model";
      if (now !== role) state.since = index;
      role = now;
    }
    return state;
  };

  const told = (index) => {
    const { when, position: place } = events[index];
    return `${rows[index].querySelector(".s").textContent} (${when}, position ${place})`;
  };

  const list = (id, lanes) => {
    byId(`${id}-count`).textContent = String(lanes.length);
    byId(id).textContent = lanes.map((lane) => versions[lane].number).join(", ") || "none";
  };

  const showCard = (state, asked) => {
    const lanesWith = (...statuses) =>
      versions.map((_, lane) => lane).filter((lane) => state.versions[lane] && statuses.includes(state.versions[lane].status));
    const heading = byId("when");
    const last = counted > 0 ? `, after ${events[counted - 1].when}` : ", before all events";
    heading.textContent = counted === events.length ? heading.dataset.end : `As of position ${asked}${last}`;
    let primary = "There is no model of this name";
    if (state.exists) primary = state.primary < 0 ? "No version is primary" : `${versions[state.primary].number} is primary`;
    byId("primary").textContent = primary;
    byId("since").textContent = state.since < 0 ? "" : told(state.since);
    list("active", lanesWith("active"));
    list("billed", lanesWith("active", "activating"));
    list("left", lanesWith("active", "activating", "inactive"));
    const card = byId("card");
    card.dataset.count = String(counted);
    card.dataset.exists = String(state.exists);
    card.dataset.primary = state.primary < 0 ? "" : versions[state.primary].number;
  };

  const showPicture = (state) => {
    drawings.forEach((drawing, which) => {
      const past = drawing.querySelector("rect.past");
      past.setAttribute("width", String(Math.max(cuts[counted], 0)));
      const line = drawing.querySelector("line.cut");
      line.setAttribute("x1", String(cuts[counted]));
      line.setAttribute("x2", String(cuts[counted]));
      line.classList.toggle("on", counted < events.length);
      for (const shape of drawn[which]) shape.classList.toggle("later", Number(shape.dataset.i) >= counted);
      for (const label of all(".label[data-lane]", drawing)) {
        const lane = Number(label.dataset.lane);
        const version = state.versions[lane];
        label.classList.toggle("is-not-yet", version === null);
        label.classList.toggle("is-deleted", version !== null && version.status === "deleted");
        label.classList.toggle("is-primary", state.primary === lane);
      }
    });
    rows.forEach((row, index) => row.classList.toggle("later", index >= counted));
  };

  const show = (count, asked) => {
    counted = count;
    const state = stateAfter(count);
    slider.value = String(count);
    position.value = String(asked);
    slider.setAttribute("aria-valuetext", count > 0 ? `position ${asked}: ${told(count - 1)}` : "before all events");
    showCard(state, asked);
    showPicture(state);
    settleFocus();
  };

  slider.addEventListener("input", () => {
    const count = Number(slider.value);
    show(count, count === events.length ? Number(position.max) : count === 0 ? 0 : events[count - 1].position);
  });
  position.addEventListener("input", () => {
    const asked = Math.min(Math.max(Math.trunc(Number(position.value)) || 0, 0), Number(position.max));
    show(events.filter((event) => event.position <= asked).length, asked);
  });
  byId("now").addEventListener("click", () => show(events.length, Number(position.max)));

  // The tooltip of a mark.
  const tip = byId("tip");
  let leaving = 0;
  const hideTip = () => {
    tip.hidden = true;
    tip.replaceChildren();
  };
  const line = (name, text) => {
    const element = document.createElement("div");
    element.textContent = `${name}: ${text}`;
    return element;
  };
  const showTip = (mark) => {
    clearTimeout(leaving);
    const event = events[Number(mark.dataset.i)];
    const said = document.createElement("strong");
    said.textContent = event.said;
    const lines = [said, line("Who", actors[event.actor]), line("Why", event.why === null ? "not said" : event.why)];
    lines.push(line("When", event.when), line("What", `${event.kind}, position ${event.position}`));
    tip.replaceChildren(...lines);
    tip.hidden = false;
    const place = mark.querySelector(".hit").getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: high } = tip;
    const below = place.bottom + 8 + high <= window.innerHeight;
    tip.style.left = `${Math.max(8, Math.min(place.left, window.innerWidth - wide - 8))}px`;
    tip.style.top = `${below ? place.bottom + 8 : Math.max(8, place.top - high - 8)}px`;
  };
  tip.addEventListener("pointerenter", () => clearTimeout(leaving));
  tip.addEventListener("pointerleave", hideTip);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideTip();
  });

  // Each drawing has one stop for the tab key; the arrow keys go on from there.
  const current = drawings.map(() => 0);
  const canStop = (index) => index < counted && shown[index];
  const settleFocus = () => {
    marks.forEach((of, which) => {
      if (!canStop(current[which])) current[which] = Math.max(events.findIndex((_, index) => canStop(index)), 0);
      of.forEach((mark, index) => mark.setAttribute("tabindex", index === current[which] ? "0" : "-1"));
    });
  };
  const next = (index, key) => {
    const stops = events.map((_, at) => at).filter(canStop);
    if (key === "Home") return stops[0];
    if (key === "End") return stops[stops.length - 1];
    if (key === "ArrowRight" || key === "ArrowDown") return stops.find((stop) => stop > index);
    if (key === "ArrowLeft" || key === "ArrowUp") return stops.filter((stop) => stop < index).pop();
    return undefined;
  };
  drawings.forEach((drawing, which) => {
    const frame = drawing.parentElement; // an SVG that listened for focus would become a stop of its own
    marks[which].forEach((mark, index) => {
      mark.setAttribute("aria-label", told(index));
      for (const title of all("title", mark)) title.remove();
    });
    frame.addEventListener("focusin", (event) => {
      const mark = event.target.closest(".marks .mark");
      if (mark === null) return;
      current[which] = Number(mark.dataset.i);
      settleFocus();
      showTip(mark);
    });
    frame.addEventListener("focusout", hideTip);
    frame.addEventListener("pointerover", (event) => {
      const mark = event.target.closest(".marks .mark");
      if (mark !== null) showTip(mark);
    });
    frame.addEventListener("pointerout", () => {
      clearTimeout(leaving);
      leaving = setTimeout(hideTip, 200);
    });
    frame.addEventListener("keydown", (event) => {
      const mark = event.target.closest(".marks .mark");
      const index = mark === null ? undefined : next(Number(mark.dataset.i), event.key);
      if (index === undefined) return;
      event.preventDefault();
      marks[which][index].focus();
    });
  });

  // Filters.
  const filters = { actor: byId("by-actor"), version: byId("by-version"), kind: byId("by-kind") };
  const kinds = Array.from(new Set(events.map((event) => event.kind))).sort();
  const offer = (select, names) => {
    names.forEach((name, index) => {
      const option = document.createElement("option");
      option.value = String(index);
      option.textContent = name;
      select.append(option);
    });
  };
  offer(filters.actor, actors);
  offer(filters.version, versions.map((version) => version.label));
  offer(filters.kind, kinds);
  const filter = () => {
    const [actor, version, kind] = [filters.actor, filters.version, filters.kind].map((select) => select.value);
    shown = events.map(
      (event) =>
        (actor === "" || event.actor === Number(actor)) &&
        (version === "" || event.lanes.includes(Number(version))) &&
        (kind === "" || event.kind === kinds[Number(kind)]),
    );
    rows.forEach((row, index) => {
      row.hidden = !shown[index];
    });
    for (const of of marks) of.forEach((mark, index) => mark.classList.toggle("other", !shown[index]));
    byId("count").textContent = `${shown.filter(Boolean).length} of ${events.length} events`;
    settleFocus();
  };
  for (const select of Object.values(filters)) select.addEventListener("change", filter);
  byId("clear").addEventListener("click", () => {
    for (const select of Object.values(filters)) select.value = "";
    filter();
  });

  // Folding and unfolding lanes.
  const unfold = byId("unfold");
  if (unfold !== null) {
    unfold.addEventListener("click", () => {
      const open = unfold.getAttribute("aria-pressed") !== "true";
      unfold.setAttribute("aria-pressed", String(open));
      byId("folded").hidden = open;
      byId("unfolded").hidden = !open;
    });
  }

  byId("controls").hidden = false;
  byId("filters").hidden = false;
  filter();
  show(events.length, Number(position.max));
})();
