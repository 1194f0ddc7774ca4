/**
 * The page's line to the service: a `fetch` that fails when it is asked to. Only this page notices: the service sees a
 * client that has lost its connection.
 */

import { frameSplitter, isLast, joined, seqOf } from "./frame_bytes.js";

const NETWORK_ERROR = "Failed to fetch"; // Chromium's message for a request that got no response

/** A response whose body passes through the line's faults. Counts the events that the page has read from it. */
class Connection {
  constructor(line, response) {
    this.line = line;
    this.runId = response.headers.get("X-Run-ID");
    this.first = null;
    this.last = null;
    this.isWhole = false;
    /** How it ended: "whole" (with the run's end), "left" (by the page), "cut", "dropped", "lost"; null while it is open. */
    this.end = null;
    this.source = response.body.getReader();
    this.split = frameSplitter();
    this.frames = [];
    const body = new ReadableStream(
      { start: (stream) => void (this.stream = stream), pull: () => this.pull(), cancel: () => this.leave() },
      { highWaterMark: 0 },
    );
    this.response = new Response(body, { status: response.status, headers: response.headers });
  }

  /** Breaks it: its reader gets a network error. */
  break(end) {
    if (this.end) return;
    this.finish(end);
    this.stream.error(new TypeError("network error"));
    void this.source.cancel().catch(() => {});
  }

  leave() {
    this.finish(this.isWhole ? "whole" : "left");
    return this.source.cancel().catch(() => {}); // a torn body can't be cancelled
  }

  finish(end) {
    this.end ??= end;
    this.line.changed();
  }

  async pull() {
    if (this.frames.length === 0) await this.read();
    if (!this.end) await this.pass();
  }

  /** Reads until a frame is whole, or the body has ended. */
  async read() {
    try {
      while (this.frames.length === 0 && !this.end) {
        const { done, value } = await this.source.read();
        if (done && !this.end) this.close();
        else if (!done) this.frames = this.split(value);
      }
    } catch {
      this.break("lost");
    }
  }

  /** The service has ended the body: after the run's last event, or because it stops. */
  close() {
    this.finish(this.isWhole ? "whole" : "left");
    this.stream.close();
  }

  /** Passes the frames that were read on: all of them, or one at the line's pace. */
  async pass() {
    if (this.line.tokensPerS && seqOf(this.frames[0]) !== null) {
      await new Promise((resolve) => setTimeout(resolve, 1000 / this.line.tokensPerS));
    }
    if (this.end) return;
    const frames = this.frames.splice(0, this.line.tokensPerS ? 1 : this.frames.length);
    const dropped = frames.findIndex((frame) => this.line.isDropped(seqOf(frame)));
    const passed = dropped < 0 ? frames : frames.slice(0, dropped);
    this.count(passed);
    if (passed.length > 0) this.stream.enqueue(joined(passed));
    if (dropped >= 0) this.line.drop(this);
  }

  count(frames) {
    const seqs = frames.map(seqOf).filter((seq) => seq !== null);
    if (seqs.length === 0) return;
    const wasFirst = this.first === null;
    this.first ??= seqs[0];
    this.last = seqs.at(-1);
    this.isWhole = isLast(frames.at(-1));
    if (wasFirst) this.line.changed();
  }
}

/**
 * A line that can be cut, go offline, be slow, or drop an event. `get()` returns its state and `subscribe` reports each
 * change of it.
 */
export class Line {
  /** The stream's events that are read in a second, or null for all at once. */
  tokensPerS = null;
  /** The event that is withheld next, with everything after it, or null. */
  dropSeq = null;
  /** When the line is online again (Date.now()), or null. */
  offlineUntil = null;
  #connections = [];
  #listeners = new Set();
  #outage = new AbortController();
  #state;
  #fetch;

  constructor(fetch = (...request) => globalThis.fetch(...request)) {
    this.#fetch = fetch;
    this.changed();
  }

  get = () => this.#state;

  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  changed() {
    const connections = this.#connections.map(({ runId, first, last, end }) => ({ runId, first, last, end }));
    const { tokensPerS, dropSeq, offlineUntil } = this;
    this.#state = { connections, tokensPerS, dropSeq, offlineUntil };
    for (const listener of this.#listeners) listener();
  }

  fetch = async (input, init = {}) => {
    if (this.offlineUntil !== null) throw new TypeError(NETWORK_ERROR);
    const outage = this.#outage.signal;
    const signal = init.signal ? AbortSignal.any([init.signal, outage]) : outage;
    const response = await this.#fetch(input, { ...init, signal }).catch((cause) => {
      throw outage.aborted ? new TypeError(NETWORK_ERROR) : cause;
    });
    const isStream = response.ok && response.headers.get("Content-Type")?.startsWith("text/event-stream");
    if (!isStream || !response.body) return response;
    const connection = new Connection(this, response);
    this.#keep(connection);
    return connection.response;
  };

  /** Keeps a new connection, the open ones, and the former ones of its run. */
  #keep(connection) {
    const kept = this.#connections.filter(({ runId, end }) => end === null || runId === connection.runId);
    this.#connections = [...kept, connection];
    this.changed();
  }

  /** Cuts every open stream. */
  cut() {
    for (const connection of this.#connections) connection.break("cut");
  }

  /** Cuts every connection, and refuses new ones for `ms`. Then the page is notified as a browser does it. */
  goOffline(ms) {
    if (this.offlineUntil !== null) return;
    this.offlineUntil = Date.now() + ms;
    this.cut();
    this.#outage.abort();
    setTimeout(() => this.#goOnline(), ms);
    this.changed();
  }

  #goOnline() {
    this.offlineUntil = null;
    this.#outage = new AbortController();
    this.changed();
    globalThis.dispatchEvent?.(new Event("online"));
  }

  /** Reads streams at this pace, or with null as fast as they come. */
  setPace(tokensPerS) {
    this.tokensPerS = tokensPerS;
    this.changed();
  }

  /** Withholds that event and all after it once, and cuts the connection. With null it withholds none. */
  dropAt(seq) {
    this.dropSeq = seq;
    this.changed();
  }

  isDropped(seq) {
    return this.dropSeq !== null && seq === this.dropSeq;
  }

  drop(connection) {
    this.dropSeq = null;
    connection.break("dropped");
  }
}

/** The line of this page. */
export const line = new Line();

/** The `fetch` for the page's Conversation. */
export const faultyFetch = line.fetch;
