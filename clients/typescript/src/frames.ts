/* The wire: bytes in, events out. */

import { createParser } from "eventsource-parser";
import type { StreamEvent } from "./contract";
import { onWake } from "./environment";
import { parse } from "./exact_json";

/** An event with what an inspector wants to know about its arrival. */
export interface Frame {
  event: StreamEvent;
  /** The event's JSON as the service has written it. */
  json: string;
  /** The frame's size on the wire. */
  bytes: number;
  /** When the client read it, by `performance.now()`. */
  receivedAt: number;
}

/** The result of one read: the new events, and how long the service asks the client to wait before it reconnects. */
export interface Batch {
  frames: Frame[];
  retryMs: number;
}

/** The characters of a frame that are neither its id, nor its event, nor its data. */
const FRAME_SYNTAX = "id: \nevent: \ndata: \n\n".length;

/** Returns an event, whose JSON is given. Throws a SyntaxError. */
export const eventIn = (json: string): StreamEvent => parse<StreamEvent>(json);

/** Returns the frame of an event that has just arrived. Frames are ASCII. */
function frameOf(event: StreamEvent, json: string): Frame {
  const bytes = FRAME_SYNTAX + String(event.seq).length + event.event.length + json.length;
  return { event, json, bytes, receivedAt: performance.now() };
}

/** Returns the events in JSON lines. */
export function eventsIn(lines: string): StreamEvent[] {
  return framesIn(lines).map(({ event }) => event);
}

/** Returns the frames of the events in JSON lines. */
export function framesIn(lines: string): Frame[] {
  const texts = lines.split("\n").filter((line) => line !== "");
  return texts.map((json) => frameOf(eventIn(json), json));
}

/** Returns a function that reads the events after `lastSeq` from bytes, however these are cut. */
export function batchParser(lastSeq: number): (bytes: Uint8Array) => Batch {
  const decoder = new TextDecoder();
  let batch: Batch = { frames: [], retryMs: 0 };
  const parser = createParser({
    onEvent: ({ data }) => {
      const event = eventIn(data) as StreamEvent | null;
      if (!event || !(event.seq > lastSeq)) return; // also a refusal, which has no number
      lastSeq = event.seq;
      batch.frames.push(frameOf(event, data));
    },
    onRetry: (retry) => (batch.retryMs = retry),
  });
  return (bytes) => {
    batch = { frames: [], retryMs: 0 };
    parser.feed(decoder.decode(bytes, { stream: true }));
    return batch;
  };
}

/** Reads a body's events after `lastSeq`. A connection that is silent for `silenceMs` counts as lost. */
export class EventReader {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly parse: (bytes: Uint8Array) => Batch;
  private readonly silenceMs: number;
  private readonly signal: AbortSignal;

  constructor(body: ReadableStream<Uint8Array>, lastSeq: number, silenceMs: number, signal: AbortSignal) {
    this.reader = body.getReader();
    this.parse = batchParser(lastSeq);
    this.silenceMs = silenceMs;
    this.signal = signal;
  }

  close = (): void => void this.reader.cancel().catch(() => {}); // a torn body can't be cancelled

  /** Resolves with the next bytes, or with undefined if the body has ended or the connection broke. */
  private async read(): Promise<Uint8Array | undefined> {
    return (await this.reader.read().catch(() => null))?.value;
  }

  /** A batch for each read, until the body ends, breaks or is closed, or the signal aborts. Throws if it can't be read. */
  async *batches(): AsyncGenerator<Batch> {
    this.signal.addEventListener("abort", this.close);
    if (this.signal.aborted) this.close();
    let heard = Date.now();
    let silence = setTimeout(this.close, this.silenceMs);
    // While the computer slept no timer ran. After four fifths of the silence at least one heartbeat is missing.
    const forget = onWake(() => Date.now() - heard > this.silenceMs * 0.8 && this.close());
    try {
      for (let bytes = await this.read(); bytes; bytes = await this.read()) {
        clearTimeout(silence);
        heard = Date.now();
        yield this.parse(bytes);
        silence = setTimeout(this.close, this.silenceMs);
      }
    } catch (cause) {
      // Something on the way wrote into the stream: the rest is read by another connection.
      if (!(cause instanceof SyntaxError)) throw cause;
    } finally {
      clearTimeout(silence);
      forget();
      this.signal.removeEventListener("abort", this.close);
      this.close();
    }
  }
}

export type EventStream = Response & { body: ReadableStream<Uint8Array> };

export function isStream(response: Response): response is EventStream {
  return response.ok && isEvents(response) && response.body !== null;
}

export function isEvents(response: Response): boolean {
  return !!response.headers.get("Content-Type")?.startsWith("text/event-stream");
}

/** Returns the data of the first event in a body. */
export function firstData(text: string): string {
  const found: string[] = [];
  createParser({ onEvent: ({ data }) => found.push(data) }).feed(text);
  return found[0] ?? "";
}
