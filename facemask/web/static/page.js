"use strict";
// Asks for one picture after the other, and for the state once a second. A slow connection gets fewer
// pictures, never old ones: the next is asked for when the last has come.

const RETRY_MS = 2000, STATE_MS = 1000, LIMIT_MS = 20000;
const NO_TOKEN = "The token has changed: open the address that the program printed.";
const NO_ANSWER = "The program has ended, or can't be reached; trying again.";
const FULL = "Enough others are watching: the picture comes when one of them closes this page.";
const WORDS = {starting: "The networks are loading.", reconnecting: "The camera gives no picture; it is being opened again.",
               "no frames": "No new picture."};

const element = id => document.getElementById(id);
const wait = ms => new Promise(resolve => setTimeout(resolve, ms));
// Names this tab, so that its place is its own when it is loaded again. No secret.
sessionStorage.viewer ||= Math.random().toString(36).slice(2);
let trouble = "";  // with the pictures

function ask(path) {
  return fetch(path, {cache: "no-store", signal: AbortSignal.timeout(LIMIT_MS)});
}

async function showPictures() {
  const picture = element("picture");
  let seen = "";
  for (;;) {
    while (document.hidden) await wait(STATE_MS / 4);
    try {
      const answer = await ask(`picture.jpg?viewer=${sessionStorage.viewer}&after=${seen}`);
      trouble = {401: NO_TOKEN, 503: FULL}[answer.status] ?? (answer.ok ? "" : NO_ANSWER);
      if (answer.status === 200) {
        const address = URL.createObjectURL(await answer.blob());
        const shown = picture.src;
        picture.src = address;
        await picture.decode();
        picture.hidden = false;
        URL.revokeObjectURL(shown);
        seen = answer.headers.get("Frame-Number");
        picture.dataset.frame = seen;
      }
    } catch {
      trouble = NO_ANSWER;
    }
    if (trouble) {
      seen = "";
      await wait(RETRY_MS);
    }
  }
}

async function showState() {
  for (;;) {
    if (!document.hidden) {
      try {
        const answer = await ask("state.json");
        if (answer.ok) show(await answer.json());
        else say("not connected", answer.status === 401 ? NO_TOKEN : NO_ANSWER);
      } catch {
        say("not connected", NO_ANSWER);
      }
    }
    await wait(STATE_MS);
  }
}

function say(status, message) {
  element("status").textContent = status;
  element("status").classList.toggle("trouble", !["running", "starting"].includes(status));
  element("message").textContent = message;
}

function show(state) {
  say(state.status, trouble || WORDS[state.status] || "");
  element("source").textContent = state.source || "Face masks";
  document.title = state.source ? `Face masks: ${state.source}` : "Face masks";
  element("rate").textContent = state.status === "running" ? `${state.fps.toFixed(1)} frames a second` : "";
  element("in_view").replaceChildren(...state.in_view.map(row => line(row, make("b", row.count))));
  element("hour").hidden = !state.last_hour;
  if (state.last_hour) showHour(state.last_hour);
  element("alerts").replaceChildren(...state.alerts.map(alertLine));
  element("no_alerts").hidden = state.alerts.length > 0;
  element("failed").hidden = !state.failed_frames;
  element("problem").textContent = `${state.failed_frames} frames failed. ${state.problem}`;
  document.body.dataset.frame = state.frame;
}

function showHour(rows) {
  const total = rows.reduce((sum, row) => sum + row.count, 0);
  element("last_hour").replaceChildren(...rows.map(row => {
    const bar = make("span", "");
    bar.className = "bar";
    bar.style.background = row.colour;
    bar.style.width = `${100 * row.share}%`;
    return line(row, make("span", `${(100 * row.share).toFixed(0)} % (${row.count})`), bar);
  }));
  element("hour_total").textContent =
    `${total} ${total === 1 ? "face" : "faces"}, each counted once while it is tracked`;
}

function line(row, ...rest) {
  const item = make("li", ""), swatch = make("span", "");
  item.dataset.label = row.label;
  swatch.className = "swatch";
  swatch.style.background = row.colour;
  item.append(swatch, make("span", row.word), ...rest);
  return item;
}

function make(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function alertLine(alert) {
  const when = new Date(alert.time), today = when.toDateString() === new Date().toDateString();
  const text = when.toLocaleString([], {dateStyle: today ? undefined : "short", timeStyle: "medium"});
  const item = make("li", ""), time = make("time", text);
  time.dateTime = alert.time;
  item.append(time, ` ${alert.word}, track ${alert.track}`);
  return item;
}

showPictures();
showState();
