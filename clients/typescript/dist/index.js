//#region src/environment.ts
const page = () => globalThis.document;
/** Whether nobody can see the page. Without a page, nothing is hidden. */
function isHidden() {
	return page()?.visibilityState === "hidden";
}
/** Calls `listener` when the page is online, visible or restored again. Returns a function that stops this. */
function onWake(listener) {
	const document = page();
	if (!document) return () => {};
	const { window } = globalThis;
	const becameVisible = () => !isHidden() && listener();
	const restored = ({ persisted }) => persisted && listener();
	window.addEventListener("online", listener);
	window.addEventListener("pageshow", restored);
	document.addEventListener("visibilitychange", becameVisible);
	return () => {
		window.removeEventListener("online", listener);
		window.removeEventListener("pageshow", restored);
		document.removeEventListener("visibilitychange", becameVisible);
	};
}
/** A random key. (crypto.randomUUID exists only on HTTPS and localhost.) */
function newKey() {
	return Array.from(crypto.getRandomValues(/* @__PURE__ */ new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
//#endregion
//#region src/exact_json.ts
/** A sign, the quote at the beginning of a string, or another value of a JSON text. */
const TOKEN$1 = /["[\]{}:,]|[^\s[\]{}:,"]+/g;
const WHOLE_NUMBER = /^-?\d+$/;
/** Yields the tokens of JSON, each with its place. A string is one token. */
function* tokensOf(json) {
	const next = new RegExp(TOKEN$1);
	for (let found = next.exec(json); found; found = next.exec(json)) {
		if (found[0] === "\"") next.lastIndex = endOfString(json, found.index);
		yield [json.slice(found.index, next.lastIndex), found.index];
	}
}
/** Returns the place after a string. A regular expression for a string has no room for one with millions of escapes. */
function endOfString(json, start) {
	for (let end = json.indexOf("\"", start + 1); end >= 0; end = json.indexOf("\"", end + 1)) {
		let backslashes = 0;
		while (json[end - 1 - backslashes] === "\\") backslashes += 1;
		if (backslashes % 2 === 0) return end + 1;
	}
	return json.length;
}
/**
* Parses JSON of the service. Each object with the `arguments` of a call also gets their JSON as `arguments_text`, and each one
* with the `data` of an answer gets `data_text`. What is inside arguments and data stays as it is: it is not the service's.
*/
function parse(json) {
	const value = JSON.parse(json);
	if (json.includes("\"arguments\"") || json.includes("\"attempts\"")) addTexts(value, json);
	return value;
}
const isObject = (value) => typeof value === "object" && value !== null;
/** The key for the text of the value that comes next, if it gets one. An answer has `attempts`; an event has `data`, too. */
function textKey({ value, key }, token) {
	if (!isObject(value)) return void 0;
	if (key === "arguments" && token === "{") return "arguments_text";
	return key === "data" && typeof value["attempts"] === "number" ? "data_text" : void 0;
}
/** Adds the texts to the objects in a value, whose JSON is given. */
function addTexts(root, json) {
	const places = [{
		value: { root },
		key: "root"
	}];
	let texted;
	let before = "";
	for (const [token, index] of tokensOf(json)) {
		const place = places.at(-1);
		if (token === ":") place.key = JSON.parse(before);
		if (token === "," && typeof place.key === "number") place.key += 1;
		const key = before === ":" && !texted ? textKey(place, token) : void 0;
		if (key) texted = {
			object: place.value,
			key,
			start: index,
			depth: places.length
		};
		if (token === "{" || token === "[") places.push({
			value: isObject(place.value) ? place.value[place.key] : void 0,
			key: token === "[" ? 0 : ""
		});
		else if (token === "}" || token === "]") places.pop();
		if (texted && places.length === texted.depth) {
			texted.object[texted.key] = laidOut(json.slice(texted.start, index + token.length), "");
			texted = void 0;
		}
		before = token;
	}
}
/** Returns the JSON of a value, or a text that is JSON already. */
const jsonOf = (body) => typeof body === "string" ? body : stringify(body);
/** Returns the JSON of a value. Bigints become whole numbers with every digit. */
function stringify(value) {
	const mark = newKey();
	return JSON.stringify(value, (_, part) => typeof part === "bigint" ? `${mark}${part}` : part).replace(new RegExp(`"${mark}(-?\\d+)"`, "g"), "$1");
}
/** Returns JSON in lines, as `JSON.stringify` lays it out, but with each number as it is written. Throws a SyntaxError. */
function prettyJson(json) {
	JSON.parse(json);
	return laidOut(json, "  ");
}
/** Returns JSON in lines that are indented by `indent`, or without white space if that is empty. */
function laidOut(json, indent) {
	const colon = indent ? ": " : ":";
	let depth = 0;
	let before = "";
	let text = "";
	for (const [token] of tokensOf(json)) {
		const closes = token === "}" || token === "]";
		const opened = before === "{" || before === "[";
		if (closes) depth -= 1;
		if (indent && (before === "," || closes !== opened)) text += `\n${indent.repeat(depth)}`;
		if (token === "{" || token === "[") depth += 1;
		text += token === ":" ? colon : token.startsWith("\"") ? JSON.stringify(JSON.parse(token)) : token;
		before = token;
	}
	return text;
}
/** Parses JSON. Whole numbers that JavaScript's numbers can't hold become bigints. Throws a SyntaxError. */
function parseWithBigints(json) {
	JSON.parse(json);
	const mark = newKey();
	const marked = Array.from(tokensOf(json), ([token]) => isRounded(token) ? `"${mark}${token}"` : token);
	return JSON.parse(marked.join(""), (_, value) => typeof value === "string" && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value);
}
const isRounded = (token) => WHOLE_NUMBER.test(token) && !Number.isSafeInteger(Number(token));
//#endregion
//#region node_modules/eventsource-parser/dist/errors.js
/**
* Error thrown when encountering an issue during parsing.
*
* @public
*/
var ParseError = class extends Error {
	constructor(message, options) {
		super(message);
		this.name = "ParseError";
		this.type = options.type;
		this.field = options.field;
		this.value = options.value;
		this.line = options.line;
	}
};
//#endregion
//#region node_modules/eventsource-parser/dist/parse.js
/**
* EventSource/Server-Sent Events parser
* @see https://html.spec.whatwg.org/multipage/server-sent-events.html
*/
const LF = 10;
const CR = 13;
const SPACE = 32;
const MAX_FIELD_PREFIX_LENGTH = 6;
/**
* Creates a new EventSource parser.
*
* @param config - Parser configuration. Accepts callbacks (see {@link ParserCallbacks})
*   and options like `maxBufferSize` (see {@link ParserConfig}).
*
* @returns A new EventSource parser, with `feed` and `reset` methods.
* @public
*/
function createParser(config) {
	if (typeof config === "function") throw new TypeError("`config` must be an object, got a function instead. Did you mean `createParser({onEvent: fn})`?");
	const { maxBufferSize, onComment, onError, onEvent, onId, onRetry } = config;
	const pendingFragments = [];
	let pendingFragmentsLength = 0;
	let bomPrefix = "";
	let id;
	let data = "";
	let dataLines = 0;
	let eventType;
	let terminated = false;
	let skippingLine = false;
	let skipNextLineFeed = false;
	/**
	* Feeds a chunk of the SSE stream to the parser. Any trailing bytes that do
	* not yet form a complete line are held back and prepended to the next chunk,
	* so callers can pass arbitrary slices of the stream without worrying about
	* line boundaries.
	*
	* Per the SSE spec, one leading UTF-8 BOM is stripped before parsing,
	* even when split across chunks. This handles both the raw 3-byte form (0xEF 0xBB
	* 0xBF) and a single decoded U+FEFF, so a leading BOM is ignored regardless of
	* how the caller decoded the bytes.
	*
	* @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
	*/
	function feed(chunk) {
		if (terminated) throw new Error("Cannot feed parser: it was terminated after exceeding the configured max buffer size. Call `reset()` to resume parsing.");
		if (bomPrefix !== void 0) {
			chunk = bomPrefix + chunk;
			if (chunk === "" || chunk === "ï" || chunk === "ï»") {
				bomPrefix = chunk;
				return;
			}
			bomPrefix = void 0;
			chunk = chunk.replace(/^(?:\uFEFF|\xEF\xBB\xBF)/, "");
		}
		if (skippingLine || skipNextLineFeed) {
			chunk = resumeAfterSkip(chunk);
			if (!chunk) return;
		}
		if (!pendingFragments.length) {
			const trailing = processLines(chunk);
			if (trailing !== "") storeTrailing(trailing);
			checkForBufferOverflow();
			return;
		}
		if (chunk.indexOf("\n") === -1 && chunk.indexOf("\r") === -1) {
			if (pendingFragmentsLength < MAX_FIELD_PREFIX_LENGTH) {
				if (!shouldBufferTrailing(pendingFragments.join("") + chunk.slice(0, MAX_FIELD_PREFIX_LENGTH - pendingFragmentsLength))) {
					pendingFragments.length = 0;
					pendingFragmentsLength = 0;
					skippingLine = true;
					return;
				}
			}
			pendingFragments.push(chunk);
			pendingFragmentsLength += chunk.length;
			checkForBufferOverflow();
			return;
		}
		pendingFragments.push(chunk);
		const input = pendingFragments.join("");
		pendingFragments.length = 0;
		pendingFragmentsLength = 0;
		storeTrailing(processLines(input));
		checkForBufferOverflow();
	}
	function resumeAfterSkip(chunk) {
		if (chunk.length === 0) return chunk;
		if (skipNextLineFeed) {
			skipNextLineFeed = false;
			return chunk.charCodeAt(0) === LF ? chunk.slice(1) : chunk;
		}
		const crIndex = chunk.indexOf("\r");
		const lfIndex = chunk.indexOf("\n");
		const lineEnd = crIndex === -1 ? lfIndex : lfIndex === -1 ? crIndex : crIndex < lfIndex ? crIndex : lfIndex;
		if (lineEnd === -1) return "";
		if (lineEnd === chunk.length - 1 && chunk.charCodeAt(lineEnd) === CR) {
			skippingLine = false;
			skipNextLineFeed = true;
			return "";
		}
		skippingLine = false;
		return chunk.slice(lineEnd + (chunk.charCodeAt(lineEnd) === CR && chunk.charCodeAt(lineEnd + 1) === LF ? 2 : 1));
	}
	function storeTrailing(trailing) {
		if (!trailing) return;
		if (trailing.charCodeAt(trailing.length - 1) === CR) {
			parseLine(trailing, 0, trailing.length - 1);
			if (checkForBufferOverflow()) return;
			skipNextLineFeed = true;
			return;
		}
		if (shouldBufferTrailing(trailing)) {
			pendingFragments.push(trailing);
			pendingFragmentsLength = trailing.length;
			return;
		}
		skippingLine = true;
	}
	function shouldBufferTrailing(trailing) {
		const firstCharCode = trailing.charCodeAt(0);
		return firstCharCode === 58 && !!onComment || firstCharCode === 100 && isPotentialField(trailing, "data") || firstCharCode === 101 && isPotentialField(trailing, "event") || firstCharCode === 105 && isPotentialField(trailing, "id") || firstCharCode === 114 && isPotentialField(trailing, "retry");
	}
	function checkForBufferOverflow() {
		if (terminated) return true;
		if (maxBufferSize === void 0) return false;
		if (pendingFragmentsLength + data.length <= maxBufferSize) return false;
		terminated = true;
		pendingFragments.length = 0;
		pendingFragmentsLength = 0;
		id = void 0;
		data = "";
		dataLines = 0;
		eventType = void 0;
		skippingLine = false;
		skipNextLineFeed = false;
		onError === null || onError === void 0 || onError(new ParseError(`Buffered data exceeded max buffer size of ${maxBufferSize} characters`, { type: "max-buffer-size-exceeded" }));
		return true;
	}
	/**
	* Splits `chunk` into SSE lines and dispatches each to the appropriate handler.
	* Returns any trailing bytes that did not terminate with a line break, so the
	* caller can prepend them to the next chunk.
	*
	* The SSE spec permits three line terminators: `\n`, `\r`, and `\r\n`. Real-world
	* streams almost always use plain `\n`, so we take a fast path when no `\r` is
	* present in the chunk. The slow path is spec-correct but does more work per line.
	*/
	function processLines(chunk) {
		let searchIndex = 0;
		if (chunk.indexOf("\r") === -1) {
			let lfIndex = chunk.indexOf("\n", searchIndex);
			while (lfIndex !== -1) {
				if (searchIndex === lfIndex) {
					if (id !== void 0) onId === null || onId === void 0 || onId(id);
					if (dataLines > 0) onEvent === null || onEvent === void 0 || onEvent({
						id,
						event: eventType,
						data
					});
					id = void 0;
					data = "";
					dataLines = 0;
					eventType = void 0;
					searchIndex = lfIndex + 1;
					lfIndex = chunk.indexOf("\n", searchIndex);
					continue;
				}
				const firstCharCode = chunk.charCodeAt(searchIndex);
				if (isDataPrefix(chunk, searchIndex, firstCharCode)) {
					const valueStart = chunk.charCodeAt(searchIndex + 5) === SPACE ? searchIndex + 6 : searchIndex + 5;
					const value = chunk.slice(valueStart, lfIndex);
					if (dataLines === 0 && chunk.charCodeAt(lfIndex + 1) === LF) {
						if (id !== void 0) onId === null || onId === void 0 || onId(id);
						onEvent === null || onEvent === void 0 || onEvent({
							id,
							event: eventType,
							data: value
						});
						id = void 0;
						data = "";
						eventType = void 0;
						searchIndex = lfIndex + 2;
						lfIndex = chunk.indexOf("\n", searchIndex);
						continue;
					}
					data = dataLines === 0 ? value : `${data}\n${value}`;
					dataLines++;
				} else if (isEventPrefix(chunk, searchIndex, firstCharCode)) eventType = chunk.slice(chunk.charCodeAt(searchIndex + 6) === SPACE ? searchIndex + 7 : searchIndex + 6, lfIndex) || void 0;
				else parseLine(chunk, searchIndex, lfIndex);
				if (checkForBufferOverflow()) return "";
				searchIndex = lfIndex + 1;
				lfIndex = chunk.indexOf("\n", searchIndex);
			}
			return chunk.slice(searchIndex);
		}
		let crIndex = chunk.indexOf("\r", searchIndex);
		let lfIndex = chunk.indexOf("\n", searchIndex);
		while (searchIndex < chunk.length) {
			let lineEnd = -1;
			if (crIndex !== -1 && lfIndex !== -1) lineEnd = crIndex < lfIndex ? crIndex : lfIndex;
			else if (crIndex !== -1) if (crIndex === chunk.length - 1) lineEnd = -1;
			else lineEnd = crIndex;
			else if (lfIndex !== -1) lineEnd = lfIndex;
			if (lineEnd === -1) break;
			parseLine(chunk, searchIndex, lineEnd);
			if (checkForBufferOverflow()) return "";
			searchIndex = lineEnd + 1;
			if (chunk.charCodeAt(searchIndex - 1) === CR && chunk.charCodeAt(searchIndex) === LF) searchIndex++;
			if (crIndex !== -1 && crIndex < searchIndex) crIndex = chunk.indexOf("\r", searchIndex);
			if (lfIndex !== -1 && lfIndex < searchIndex) lfIndex = chunk.indexOf("\n", searchIndex);
		}
		return chunk.slice(searchIndex);
	}
	function parseLine(chunk, start, end) {
		if (start === end) {
			dispatchEvent();
			return;
		}
		const firstCharCode = chunk.charCodeAt(start);
		if (isDataPrefix(chunk, start, firstCharCode)) {
			const valueStart = chunk.charCodeAt(start + 5) === SPACE ? start + 6 : start + 5;
			const value = chunk.slice(valueStart, end);
			data = dataLines === 0 ? value : `${data}\n${value}`;
			dataLines++;
			return;
		}
		if (isEventPrefix(chunk, start, firstCharCode)) {
			eventType = chunk.slice(chunk.charCodeAt(start + 6) === SPACE ? start + 7 : start + 6, end) || void 0;
			return;
		}
		if (firstCharCode === 105 && chunk.charCodeAt(start + 1) === 100 && chunk.charCodeAt(start + 2) === 58) {
			const value = chunk.slice(chunk.charCodeAt(start + 3) === SPACE ? start + 4 : start + 3, end);
			if (!value.includes("\0")) id = value;
			return;
		}
		if (firstCharCode === 58) {
			if (onComment) {
				const line = chunk.slice(start, end);
				onComment(line.slice(chunk.charCodeAt(start + 1) === SPACE ? 2 : 1));
			}
			return;
		}
		const line = chunk.slice(start, end);
		const fieldSeparatorIndex = line.indexOf(":");
		if (fieldSeparatorIndex === -1) {
			processField(line, "", line);
			return;
		}
		const field = line.slice(0, fieldSeparatorIndex);
		const offset = line.charCodeAt(fieldSeparatorIndex + 1) === SPACE ? 2 : 1;
		processField(field, line.slice(fieldSeparatorIndex + offset), line);
	}
	function processField(field, value, line) {
		switch (field) {
			case "event":
				eventType = value || void 0;
				break;
			case "data":
				data = dataLines === 0 ? value : `${data}\n${value}`;
				dataLines++;
				break;
			case "id":
				if (!value.includes("\0")) id = value;
				break;
			case "retry":
				if (/^\d+$/.test(value)) onRetry === null || onRetry === void 0 || onRetry(parseInt(value, 10));
				else onError === null || onError === void 0 || onError(new ParseError(`Invalid \`retry\` value: "${value}"`, {
					type: "invalid-retry",
					value,
					line
				}));
				break;
			default:
				onError === null || onError === void 0 || onError(new ParseError(`Unknown field "${field.length > 20 ? `${field.slice(0, 20)}…` : field}"`, {
					type: "unknown-field",
					field,
					value,
					line
				}));
				break;
		}
	}
	function dispatchEvent() {
		if (id !== void 0) onId === null || onId === void 0 || onId(id);
		if (dataLines > 0) onEvent === null || onEvent === void 0 || onEvent({
			id,
			event: eventType,
			data
		});
		id = void 0;
		data = "";
		dataLines = 0;
		eventType = void 0;
	}
	function reset(options = {}) {
		if (options.consume && pendingFragments.length > 0) {
			const incompleteLine = pendingFragments.join("");
			parseLine(incompleteLine, 0, incompleteLine.length);
		}
		bomPrefix = "";
		id = void 0;
		data = "";
		dataLines = 0;
		eventType = void 0;
		pendingFragments.length = 0;
		pendingFragmentsLength = 0;
		terminated = false;
		skippingLine = false;
		skipNextLineFeed = false;
	}
	return {
		feed,
		reset
	};
}
/**
* Checks if `chunk` starts with the literal `data:` at index `i`.
*
* Equivalent to `chunk.startsWith('data:', i)`, but benchmarks show this
* hand-unrolled char-code comparison is ~20% faster on common event types.
* The caller passes `firstCharCode` (the code at `i`) so it can be reused
* across prefix checks.
*
* ASCII: 'd' = 100, 'a' = 97, 't' = 116, 'a' = 97, ':' = 58
*/
function isDataPrefix(chunk, i, firstCharCode) {
	return firstCharCode === 100 && chunk.charCodeAt(i + 1) === 97 && chunk.charCodeAt(i + 2) === 116 && chunk.charCodeAt(i + 3) === 97 && chunk.charCodeAt(i + 4) === 58;
}
/**
* Checks if `chunk` starts with the literal `event:` at index `i`.
*
* See {@link isDataPrefix} for why this is hand-unrolled rather than using
* `String.prototype.startsWith`.
*
* ASCII: 'e' = 101, 'v' = 118, 'e' = 101, 'n' = 110, 't' = 116, ':' = 58
*/
function isEventPrefix(chunk, i, firstCharCode) {
	return firstCharCode === 101 && chunk.charCodeAt(i + 1) === 118 && chunk.charCodeAt(i + 2) === 101 && chunk.charCodeAt(i + 3) === 110 && chunk.charCodeAt(i + 4) === 116 && chunk.charCodeAt(i + 5) === 58;
}
function isPotentialField(line, field) {
	let i = 1;
	while (i < line.length && i < field.length) {
		if (line.charCodeAt(i) !== field.charCodeAt(i)) return false;
		i++;
	}
	return line.length <= field.length || line.charCodeAt(field.length) === 58;
}
//#endregion
//#region src/frames.ts
/** The characters of a frame that are neither its id, nor its event, nor its data. */
const FRAME_SYNTAX = 21;
/** Returns an event, whose JSON is given. Throws a SyntaxError. */
const eventIn = (json) => parse(json);
/** Returns the frame of an event that has just arrived. Frames are ASCII. */
function frameOf(event, json) {
	return {
		event,
		json,
		bytes: FRAME_SYNTAX + String(event.seq).length + event.event.length + json.length,
		receivedAt: performance.now()
	};
}
/** Returns the events in JSON lines. */
function eventsIn(lines) {
	return framesIn(lines).map(({ event }) => event);
}
/** Returns the frames of the events in JSON lines. */
function framesIn(lines) {
	return lines.split("\n").filter((line) => line !== "").map((json) => frameOf(eventIn(json), json));
}
/** Returns a function that reads the events after `lastSeq` from bytes, however these are cut. */
function batchParser(lastSeq) {
	const decoder = new TextDecoder();
	let batch = {
		frames: [],
		retryMs: 0
	};
	const parser = createParser({
		onEvent: ({ data }) => {
			const event = eventIn(data);
			if (!event || !(event.seq > lastSeq)) return;
			lastSeq = event.seq;
			batch.frames.push(frameOf(event, data));
		},
		onRetry: (retry) => batch.retryMs = retry
	});
	return (bytes) => {
		batch = {
			frames: [],
			retryMs: 0
		};
		parser.feed(decoder.decode(bytes, { stream: true }));
		return batch;
	};
}
/** Reads a body's events after `lastSeq`. A connection that is silent for `silenceMs` counts as lost. */
var EventReader = class {
	reader;
	parse;
	silenceMs;
	signal;
	constructor(body, lastSeq, silenceMs, signal) {
		this.reader = body.getReader();
		this.parse = batchParser(lastSeq);
		this.silenceMs = silenceMs;
		this.signal = signal;
	}
	close = () => void this.reader.cancel().catch(() => {});
	/** Resolves with the next bytes, or with undefined if the body has ended or the connection broke. */
	async read() {
		return (await this.reader.read().catch(() => null))?.value;
	}
	/** A batch for each read, until the body ends, breaks or is closed, or the signal aborts. Throws if it can't be read. */
	async *batches() {
		this.signal.addEventListener("abort", this.close);
		if (this.signal.aborted) this.close();
		let heard = Date.now();
		let silence = setTimeout(this.close, this.silenceMs);
		const forget = onWake(() => Date.now() - heard > this.silenceMs * .8 && this.close());
		try {
			for (let bytes = await this.read(); bytes; bytes = await this.read()) {
				clearTimeout(silence);
				heard = Date.now();
				yield this.parse(bytes);
				silence = setTimeout(this.close, this.silenceMs);
			}
		} catch (cause) {
			if (!(cause instanceof SyntaxError)) throw cause;
		} finally {
			clearTimeout(silence);
			forget();
			this.signal.removeEventListener("abort", this.close);
			this.close();
		}
	}
};
function isStream(response) {
	return response.ok && isEvents(response) && response.body !== null;
}
function isEvents(response) {
	return !!response.headers.get("Content-Type")?.startsWith("text/event-stream");
}
/** Returns the data of the first event in a body. */
function firstData(text) {
	const found = [];
	createParser({ onEvent: ({ data }) => found.push(data) }).feed(text);
	return found[0] ?? "";
}
//#endregion
//#region src/failures.ts
/** A run failed, was refused, or can't be read to its end. */
var RunFailed = class extends Error {
	name = "RunFailed";
	error;
	/** Whether another try is useless. */
	isFinal;
	/** Whether the service no longer has the run. */
	isGone;
	constructor(error, { isFinal = false, isGone = false } = {}) {
		super(error.message);
		this.error = error;
		this.isFinal = isFinal;
		this.isGone = isGone;
	}
	get code() {
		return this.error.code;
	}
	/** Whether the same request may succeed later. */
	get retryable() {
		return this.error.retryable;
	}
};
function incomplete() {
	return new RunFailed({
		code: "incomplete",
		message: "The rest of the answer could not be read.",
		retryable: true
	});
}
function restarted() {
	return new RunFailed({
		code: "restarted",
		message: "The text so far no longer counts, because its model turn began again. `onRestart` handles this.",
		retryable: false
	});
}
function unreachable(url) {
	return new RunFailed({
		code: "network",
		message: `No response from ${url || globalThis.location?.origin}. Usual causes: the service does not run there or does not allow this page's origin (CORS_ORIGINS), or other tabs use all six connections that a browser opens to one address.`,
		retryable: true
	});
}
/** Whether a request had no response of the service itself. The service may have received it. */
function isOutage(cause) {
	return cause instanceof RunFailed && (cause.code === "network" || isForeign(cause.error));
}
/** Whether an error is not the service's but that of something before it: a proxy, or a route that could not reach it. */
function isForeign({ code }) {
	return code.startsWith("http_") || code === "service_unreachable";
}
/** Returns the failure with which a request to this URL was rejected: without a response, it is an outage. */
function failureOf(cause, url) {
	return cause instanceof RunFailed ? cause : unreachable(url);
}
/**
* Returns the failure that a response reports in JSON, or in the first frame of a refused stream. Only the service itself
* can report that a run is gone. An error page of a proxy is an outage, except as the response to a question.
*/
async function refusal(response, isQuestion = false) {
	const bytes = await response.arrayBuffer().catch(() => /* @__PURE__ */ new ArrayBuffer(0));
	const { status } = response;
	const seconds = retryAfter(response) / 1e3;
	const reported = errorIn(isEvents(response), new Uint8Array(bytes));
	const error = reported ?? {
		code: `http_${status}`,
		message: `The response (HTTP ${status}) is not a stream of events.`,
		retryable: status >= 500
	};
	const about = {
		isFinal: !(status === 429 || status >= 500) && (reported !== null || isQuestion),
		isGone: reported !== null && (status === 404 || status === 410)
	};
	return new RunFailed(seconds > 0 ? {
		...error,
		retry_after: seconds
	} : error, about);
}
function errorIn(isEvents, bytes) {
	try {
		const text = new TextDecoder().decode(bytes);
		const { error, data } = JSON.parse(isEvents ? firstData(text) : text);
		const failure = error ?? data;
		return typeof failure?.code === "string" ? failure : null;
	} catch {
		return null;
	}
}
/** Returns how long a response asks the client to wait, in milliseconds. */
function retryAfter(response) {
	return Number(response.headers.get("Retry-After")) * 1e3 || 0;
}
/** The text about an error for end users. */
function explain({ code, message, details = [] }) {
	if (code === "session_busy") return "This conversation is still being answered. Wait for that answer, then ask again.";
	return details.length > 0 ? details.map((detail) => `${detail.message} (${detail.loc})`).join(" ") : message;
}
//#endregion
//#region src/slots.ts
/** How many streams the pages of one origin hold open. A browser opens six connections to an address for all its tabs. */
const STREAMS = 2;
const UNLIMITED = { release: () => {} };
/** The streams that this page holds, by the service's URL: all that can be counted where the browser has no locks. */
const held = /* @__PURE__ */ new Map();
/** The streams to one service that the tabs of a browser share. A visible tab gets one of a hidden tab. */
var Slots = class {
	url;
	tabs = null;
	constructor(url) {
		this.url = url;
	}
	/** Returns a slot, or null if none is free. Outside of browsers, connections aren't limited. */
	async take() {
		if (!globalThis.document) return UNLIMITED;
		const { locks } = navigator;
		if (!locks) return this.count();
		for (let number = 0; number < STREAMS; number += 1) {
			const slot = await lock(locks, `agent-stream ${this.url()} ${number}`);
			if (slot) return slot;
		}
		return null;
	}
	/** Asks the hidden tabs for a slot, if this tab is visible. */
	ask() {
		if (!isHidden()) this.tabs?.postMessage(this.url());
	}
	/** Calls `giveWay` when this tab is hidden and a visible one needs a slot. Returns a function that stops this. */
	share(giveWay) {
		if (!globalThis.document || !("BroadcastChannel" in globalThis)) return () => {};
		const tabs = new BroadcastChannel("agent-stream");
		tabs.onmessage = ({ data }) => data === this.url() && isHidden() && giveWay();
		this.tabs = tabs;
		return () => {
			this.tabs = null;
			tabs.close();
		};
	}
	count() {
		const url = this.url();
		const taken = held.get(url) ?? 0;
		if (taken >= STREAMS) return null;
		held.set(url, taken + 1);
		return { release: () => held.set(url, (held.get(url) ?? 1) - 1) };
	}
};
/** Takes a lock if it is free. The browser releases it when the page is gone. */
function lock(locks, name) {
	return new Promise((resolve) => {
		locks.request(name, { ifAvailable: true }, (free) => {
			if (!free) return resolve(null);
			return new Promise((release) => resolve({ release }));
		}).catch(() => resolve(null));
	});
}
const LONGEST_DELAY_MS = 1e4;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** After this time without a response, the state has an error, and the hidden tabs close their streams. */
const PATIENCE_MS = 2e3;
/** How long a tab polls after it has closed its stream for another tab. */
const YIELD_MS = 5e3;
/** How often a visible page without a run checks for a question of another page in its session. */
const LOOK_MS = 1e4;
/** How often a visible, or a hidden, page gets the events of a run while it has no stream. */
const POLL_MS = 1e3;
const HIDDEN_POLL_MS = 5e3;
/** How long a reloaded page waits for the lock of the page before it. */
const CLAIM_MS = 2e3;
/** The delay after a number of failures: exponential, capped, and random, because all clients lost the service at once. */
function retryDelay(failures) {
	return Math.min(500 * 2 ** failures, LONGEST_DELAY_MS) * (.5 + Math.random() / 2);
}
/** Resolves after that time, or when the signal aborts. */
function pause(ms, signal) {
	return new Promise((resolve) => {
		const end = () => {
			clearTimeout(timer);
			signal.removeEventListener("abort", end);
			resolve();
		};
		const timer = setTimeout(end, ms);
		signal.addEventListener("abort", end);
		if (signal.aborted) end();
	});
}
/** Like `pause`, but returns true earlier if the page wakes up or the function passed to `expose` is called. */
async function rest(ms, signal, expose) {
	const woken = new AbortController();
	const wake = () => woken.abort();
	const forget = onWake(wake);
	signal.addEventListener("abort", wake);
	expose?.(wake);
	if (!signal.aborted) await pause(ms, woken.signal);
	signal.removeEventListener("abort", wake);
	forget();
	return woken.signal.aborted;
}
//#endregion
//#region src/service.ts
/** The header of a request whose body is JSON. */
const JSON_BODY = { "Content-Type": "application/json" };
/** Sends requests to the service. */
var Service = class {
	options;
	slots = new Slots(() => this.url);
	constructor(options) {
		this.options = options;
	}
	get url() {
		return (this.options.baseUrl ?? "http://127.0.0.1:8000").replace(/\/+$/, "");
	}
	get silenceMs() {
		return (this.options.heartbeatS ?? 4) * 2500;
	}
	/**
	* Resolves with the response once its head has arrived. Rejects if the signal aborts before that, or after `silenceMs`
	* and the time that a slow line needs for the body.
	*/
	async request(path, { signal, onSlow, isLong = false, ...init } = {}) {
		const leaving = new AbortController();
		const leave = () => leaving.abort();
		const uploadMs = typeof init.body === "string" ? init.body.length / 16 : 0;
		const late = isLong ? void 0 : setTimeout(leave, this.silenceMs + uploadMs);
		const slow = setInterval(() => {
			onSlow?.();
			this.slots.ask();
		}, PATIENCE_MS);
		signal?.addEventListener("abort", leave);
		if (signal?.aborted) leave();
		try {
			const { fetch = globalThis.fetch } = this.options;
			const headers = merged(await this.givenHeaders(), init.headers);
			return await fetch(this.url + path, {
				...init,
				headers,
				cache: "no-store",
				signal: leaving.signal
			});
		} finally {
			signal?.removeEventListener("abort", leave);
			clearTimeout(late);
			clearInterval(slow);
		}
	}
	/** Posts a value, or its JSON. */
	post(path, body, { headers, ...call } = {}) {
		const json = merged(headers, JSON_BODY);
		return this.request(path, {
			...call,
			method: "POST",
			headers: json,
			body: jsonOf(body)
		});
	}
	async givenHeaders() {
		const { headers } = this.options;
		try {
			return typeof headers === "function" ? await headers() : headers;
		} catch (cause) {
			throw new RunFailed({
				code: "callback",
				message: `\`headers\` has failed: ${String(cause)}`,
				retryable: true
			});
		}
	}
};
/** Returns headers of several sources as one. A later source takes precedence. */
function merged(...sources) {
	const all = new Headers();
	for (const source of sources) new Headers(source).forEach((value, name) => all.set(name, value));
	return all;
}
//#endregion
//#region src/api.ts
/** Makes requests that have one response, and repeats those that may succeed later. */
var Api = class {
	service;
	constructor(service) {
		this.service = service;
	}
	/** Resolves with the JSON of the response, or with null if it has none. Rejects as `send` does. */
	async json(method, path, call = {}) {
		const response = await this.send(method, path, call);
		if (call.hasCalls) return parse(await response.text());
		return response.status === 204 ? null : await response.json();
	}
	/** Resolves with a response that reports success. Rejects with a RunFailed, or with the reason of the signal. */
	async send(method, path, call = {}) {
		const { maxRetries = 5 } = this.service.options;
		const signal = call.signal ?? new AbortController().signal;
		for (let failures = 0;; failures += 1) {
			signal.throwIfAborted();
			const response = await this.attempt(method, path, call).catch((cause) => cause);
			signal.throwIfAborted();
			if (response instanceof Response && response.ok) return response;
			const failure = await this.failure(response);
			if (failure.isFinal || call.isOnce || failures >= maxRetries) throw failure;
			await pause((failure.error.retry_after ?? 0) * 1e3 + retryDelay(failures), signal);
		}
	}
	attempt(method, path, { query = {}, body, signal, ...call }) {
		const given = Object.entries(query).filter(([, value]) => value !== void 0);
		const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
		const headers = merged({ Accept: "application/json" }, call.headers, body ? JSON_BODY : {});
		return this.service.request(search.size > 0 ? `${path}?${search}` : path, {
			method,
			headers,
			...body && { body: jsonOf(body) },
			...signal && { signal },
			isLong: call.isLong ?? false
		});
	}
	async failure(response) {
		if (response instanceof RunFailed) return response;
		return response instanceof Response ? refusal(response, true) : unreachable(this.service.url);
	}
};
//#endregion
//#region src/decisions.ts
/** Returns the JSON of an approval. Throws a RunFailed if the changed arguments can't be sent exactly. */
function approval({ arguments: changed, arguments_text: text } = {}) {
	const json = text ?? (changed && JSON.stringify(changed, exact));
	if (json === void 0) return "{\"approved\":true}";
	checkObject(json);
	return `{"approved":true,"arguments":${json}}`;
}
/** A replacer of `JSON.stringify` that lets only those numbers pass whose digits are surely the ones that are meant. */
function exact(_, value) {
	if (typeof value !== "bigint" && !(typeof value === "number" && (!Number.isFinite(value) || isMaybeRounded(value)))) return value;
	throw invalid(`${value} may not be the number that is meant: JavaScript rounds it. Send the arguments as \`arguments_text\`.`);
}
const isMaybeRounded = (value) => Number.isInteger(value) && !Number.isSafeInteger(value);
function checkObject(json) {
	let value;
	try {
		value = JSON.parse(json);
	} catch (cause) {
		throw invalid(`The arguments are not valid JSON: ${cause.message}`);
	}
	if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("The arguments are not a JSON object.");
}
const invalid = (message) => new RunFailed({
	code: "invalid_arguments",
	message,
	retryable: false
});
//#endregion
//#region src/followed_run.ts
/** A run that is followed here. */
var FollowedRun = class {
	id;
	key;
	/** The request that starts the run; null for a run that has already started. */
	asked;
	/** Where it is sent. */
	route;
	/** Whether this page makes the calls of its tools. */
	isOurs;
	/** Whether it does so in place of a page that may still be there. */
	takesOver;
	/** Whether no other page makes them, although it takes the run for its own as well. */
	isGranted = Promise.resolve(true);
	onEvent;
	/** The JSON of the arguments of its calls, by their id. */
	calls = /* @__PURE__ */ new Map();
	lastSeq = 0;
	/** Whether there has been a connection to its events. */
	wasConnected = false;
	/** Whether `complete` was read, the run was stopped, or the service no longer has it. */
	isOver = false;
	/** Whether it was stopped here. The service has to be asked to cancel it until it has confirmed that. */
	isStopped;
	/** Whether there may be a run, although its id is unknown: a request that asks it had no response. */
	isInDoubt;
	/** Whether the service has lost or deleted it. */
	isGone = false;
	/** The reader that reads it, or the last one that did. */
	reader = null;
	constructor(about) {
		this.id = about.id ?? null;
		this.key = about.key ?? newKey();
		this.asked = about.asked ?? null;
		this.route = about.route ?? "";
		this.isOurs = about.isOurs;
		this.takesOver = about.takesOver ?? false;
		this.isStopped = about.isStopped ?? false;
		this.isInDoubt = about.isInDoubt ?? false;
		this.onEvent = about.onEvent;
	}
	/** Whether it is a question that may not have reached the service. */
	get isUnsent() {
		return this.id === null && this.asked !== null && !this.isOver;
	}
	get path() {
		return `/api/agent/runs/${encodeURIComponent(this.id ?? "")}`;
	}
};
//#endregion
//#region src/contract.ts
/** Returns the object without the keys that are undefined. */
function given(loose) {
	return Object.fromEntries(Object.entries(loose).filter(([, value]) => value !== void 0));
}
//#endregion
//#region src/questions.ts
const SIMULATE = "/api/agent/stream/simulate";
/** The request that a question makes. `interrupting` says whether it takes the place of a run that was just stopped. */
function requestOf(options, question, interrupting) {
	const asked = typeof question === "string" ? { input: question } : given(question);
	return {
		...requestDefaults(options, interrupting),
		...withTools(options.clientTools),
		...asked
	};
}
/**
* The fields of a question about its conversation. An answer that can be found again is worth finishing. A run of another
* page must not be interrupted, even if it has no reader at the moment.
*/
function requestDefaults({ sessionId, storageKey }, interrupting) {
	const multitask = interrupting ? "interrupt" : "reject";
	return {
		...(sessionId ?? storageKey) !== void 0 && { on_disconnect: "continue" },
		...sessionId !== void 0 && {
			session_id: sessionId,
			multitask
		}
	};
}
/** The field of a request that offers the client's own tools. */
function withTools(tools = {}) {
	const offered = Object.entries(tools);
	if (offered.length === 0) return {};
	return { client_tools: offered.map(([name, { description, parameters }]) => given({
		name,
		description,
		parameters
	})) };
}
/** The route that answers a request: the one of the options, or else the one for its kind. */
function routeOf({ path }, asked) {
	return path ?? ("scenario" in asked ? SIMULATE : "/api/agent/stream");
}
/** The question of a run. Until the run is known, `run_id` is empty. */
function questionOf({ key, id, asked }) {
	const content = asked?.input ?? null;
	return {
		message_id: key,
		run_id: id ?? "",
		role: "user",
		content,
		parts: [],
		status: "queued"
	};
}
/** The messages with a question in its place; `conversation` is null without a session. */
function withQuestion(conversation, question, asked) {
	if (!conversation) return [question];
	const { parent_run_id: parent = "", parent_state } = asked;
	const arrived = conversation.filter(({ run_id }) => run_id !== "");
	const runs = arrived.map(({ run_id }) => run_id);
	const place = parent_state === "before" ? runs.indexOf(parent) : runs.lastIndexOf(parent) + 1;
	return [...runs.includes(parent) ? arrived.slice(0, place) : arrived, question];
}
//#endregion
//#region src/resources.ts
const RUNS = "/api/agent/runs";
const SESSIONS = "/api/agent/sessions";
const runPath = (id) => `${RUNS}/${encodeURIComponent(id)}`;
/** Cancels a run. Resolves when the service has accepted that. */
const cancelRun = (api, id) => api.json("POST", `${runPath(id)}/cancel`);
const sessionPath = (id) => `${SESSIONS}/${encodeURIComponent(id)}`;
const asRequest = (input) => typeof input === "string" ? { input } : input;
var RunsResource = class {
	api;
	constructor(api) {
		this.api = api;
	}
	/** Resolves with runs, the latest first. */
	list(query = {}) {
		return this.api.json("GET", RUNS, { query });
	}
	get(id) {
		return this.api.json("GET", runPath(id));
	}
	/** Resolves with the events after `after` that exist now. */
	async events(id, { after = 0 } = {}) {
		return eventsIn(await (await this.api.send("GET", `${runPath(id)}/events`, { query: {
			wait: false,
			after
		} })).text());
	}
	/** Starts a run in the background. It needs no reader. */
	start(input, options = {}) {
		const headers = { "Idempotency-Key": options.idempotencyKey ?? newKey() };
		return this.api.json("POST", RUNS, {
			body: asRequest(input),
			headers
		});
	}
	delete(id) {
		return this.api.json("DELETE", runPath(id));
	}
};
var SessionsResource = class {
	api;
	constructor(api) {
		this.api = api;
	}
	/** Resolves with sessions, the latest first. A page of a search can have fewer than `limit`. */
	list(query = {}) {
		return this.api.json("GET", SESSIONS, { query });
	}
	get(id) {
		return this.api.json("GET", sessionPath(id));
	}
	create(body = {}) {
		return this.api.json("POST", SESSIONS, {
			body,
			isOnce: body.session_id === void 0
		});
	}
	update(id, body) {
		return this.api.json("PATCH", sessionPath(id), { body });
	}
	delete(id) {
		return this.api.json("DELETE", sessionPath(id));
	}
	/** Resolves with messages: of the branch that ends with `run_id`, of the latest branch, or with `tree` of all. */
	messages(id, query = {}) {
		return this.api.json("GET", `${sessionPath(id)}/messages`, {
			query,
			hasCalls: true
		});
	}
	runs(id, query = {}) {
		return this.api.json("GET", `${sessionPath(id)}/runs`, { query });
	}
};
//#endregion
//#region src/deliver.ts
/**
* Sends a request that counts once however often it arrives, until the service has accepted or refused it. `send` resolves
* with null if there was no response. Resolves with null, or with the error if the service did not accept the request.
*/
async function deliver(service, send, { signal, expose, onRetry }) {
	for (let failures = 0;; failures += 1) {
		const response = await send();
		if (response?.ok) return null;
		const { error, isFinal } = response ? await refusal(response) : unreachable(service.url);
		if (isFinal || failures >= (service.options.maxRetries ?? Infinity) || signal.aborted) return error;
		onRetry?.(error);
		await pause((error.retry_after ?? 0) * 1e3, signal);
		await rest(retryDelay(failures), signal, expose);
	}
}
//#endregion
//#region src/kept.ts
/** What sessionStorage has no room for, such as a question with images. It is kept until the page is reloaded. */
const overflow = /* @__PURE__ */ new Map();
/** Returns what is kept under a name, or null. */
function kept(options, name = "") {
	const key = keyOf(options, name);
	return key === null ? null : overflow.get(key) ?? access((storage) => storage.getItem(key));
}
/** Keeps a value under a name, or with null removes it. */
function keep(options, name, value) {
	const key = keyOf(options, name);
	if (key === null) return;
	overflow.delete(key);
	access((storage) => storage.removeItem(key));
	if (value === null) return;
	access((storage) => storage.setItem(key, value));
	if (access((storage) => storage.getItem(key)) === null) overflow.set(key, value);
}
function keyOf({ storageKey, sessionId }, name) {
	return storageKey === void 0 ? null : [
		storageKey,
		sessionId,
		name
	].filter((part) => part).join(":");
}
/** Returns null if the browser denies access or has no room. */
function access(use) {
	try {
		return use(sessionStorage);
	} catch {
		return null;
	}
}
//#endregion
//#region src/answers.ts
/**
* Sends answers to waiting runs. An answer is sent until the service accepts or refuses it, however long the service can't be
* reached, because the same answer twice counts once. `maxRetries` limits this.
*/
var Answers = class {
	service;
	report;
	/** The pauses of the answers that are about to be sent again. */
	pauses = /* @__PURE__ */ new Set();
	/** `report` is called with the error of each try after which the answer is sent again, and with null at the end. */
	constructor(service, report = () => {}) {
		this.service = service;
		this.report = report;
	}
	/** Resolves with null, or with the error if the service did not accept the answer or the run is no longer read. */
	async send(run, path, body) {
		if (!run?.id || !run.reader) return {
			code: "run_not_waiting",
			message: "No run waits.",
			retryable: false
		};
		const { reader } = run;
		const send = async () => {
			const slot = await reader.slotForAnswer();
			const call = {
				headers: {
					Accept: slot ? "text/event-stream, application/json" : "application/json",
					"Last-Event-ID": String(run.lastSeq)
				},
				signal: reader.signal
			};
			const response = await this.service.post(`${run.path}/${path}`, body, call).catch(() => null);
			if (response && isStream(response)) reader.resume({
				stream: response,
				slot
			});
			else slot?.release();
			reader.wake();
			return response;
		};
		const pause = { end: () => {} };
		this.pauses.add(pause);
		const error = await deliver(this.service, send, {
			signal: reader.signal,
			expose: (end) => pause.end = end,
			onRetry: (failure) => this.report(run, failure)
		});
		this.pauses.delete(pause);
		this.report(run, null);
		return error;
	}
	/** Sends an answer of a person. With `storageKey`, a page that is reloaded before it has arrived sends it again. */
	async sendKept(run, path, body) {
		if (!run) return this.send(run, path, body);
		const json = jsonOf(body);
		const signal = run.reader?.signal;
		const others = () => this.keptFor(run).filter((sent) => sent.path !== path || sent.json !== json);
		this.keepFor(run, [...others(), {
			path,
			json
		}]);
		const error = await this.send(run, path, json);
		if (!signal?.aborted) this.keepFor(run, others());
		return error;
	}
	/** Sends again what had not arrived when the page was left. */
	resend(run) {
		for (const { path, json } of this.keptFor(run)) this.sendKept(run, path, json);
	}
	/** Removes what is kept for a run that has ended. */
	forget(run) {
		this.keepFor(run, []);
	}
	keptFor(run) {
		return JSON.parse(kept(this.service.options, `${run.id}/answers`) ?? "[]");
	}
	keepFor(run, answers) {
		keep(this.service.options, `${run.id}/answers`, answers.length > 0 ? JSON.stringify(answers) : null);
	}
	/** Sends at once what waits to be sent again. */
	wake() {
		for (const { end } of this.pauses) end();
	}
};
//#endregion
//#region src/client_calls.ts
/** The calls that this page has made, by run and call, for all components. */
const made = /* @__PURE__ */ new Map();
const failed = (content) => ({
	content,
	is_error: true
});
/** Returns an outcome, whose JSON is given. */
function read(json) {
	const { content, is_error } = parseWithBigints(json);
	if (content === void 0 || is_error === void 0) throw new TypeError("The result can't be written as JSON.");
	return {
		content,
		is_error
	};
}
async function outcomeOf(tool, json) {
	try {
		const args = parseWithBigints(json);
		return read(stringify({
			content: await tool.run(args) ?? null,
			is_error: false
		}));
	} catch (cause) {
		return failed(cause instanceof Error ? cause.message : String(cause));
	}
}
/** Makes each call of the page's tools once, also if the page is reloaded meanwhile. */
var ClientCalls = class {
	service;
	send;
	constructor(service, send) {
		this.service = service;
		this.send = send;
	}
	/** Makes the pending calls whose arguments were read. */
	make(run, pending) {
		const tools = this.service.options.clientTools ?? {};
		for (const { kind, name, tool_call_id } of pending) {
			const tool = Object.hasOwn(tools, name) ? tools[name] : void 0;
			const args = run.calls.get(tool_call_id);
			if (tool && args && kind === "client" && run.isOurs) this.makeCall(run, tool_call_id, tool, args);
		}
	}
	forget(run) {
		for (const callId of run.calls.keys()) {
			const call = `${run.id}/${callId}`;
			made.delete(call);
			keep(this.service.options, call, null);
		}
	}
	async makeCall(run, callId, tool, args) {
		if (!await run.isGranted) return;
		const key = `${run.id}/${callId}`;
		const outcome = made.get(key) ?? this.makeOnce(key, tool, args);
		made.set(key, outcome);
		const error = await this.send(run, callId, await outcome);
		if (error && !error.retryable) await this.send(run, callId, failed(`The result can't be sent: ${error.message}`));
	}
	/** Makes a call, unless the page has made it before a reload. */
	async makeOnce(call, tool, args) {
		const { options } = this.service;
		const note = (outcome) => keep(options, call, stringify(outcome));
		const before = kept(options, call);
		if (before) return read(before);
		note(failed("The page was reloaded while this call was being made: its effect is unknown."));
		const outcome = await outcomeOf(tool, args);
		if (kept(options, call)) note(outcome);
		return outcome;
	}
};
//#endregion
//#region src/partial_json.ts
/** A string, which may have no end yet, a sign, or another value of a JSON text. */
const TOKEN = /"(?:[^"\\]|\\[^])*("?)|[[\]{}:,]|[^\s[\]{}:,"]+/g;
/** The beginning of an escape at the end of a text, or of the two that are one character beyond U+FFFF. */
const HALF_ESCAPE = /(?<!\\)((?:\\\\)*)\\(?:u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?|u[0-9a-fA-F]{0,3})?$/;
/** What may be before the value: white space, and the beginning of a code fence. */
const BEFORE = /^\s*(?:```\w*\s*)?(?=[[{])/;
const CLOSING = {
	"{": "}",
	"[": "]"
};
/**
* Returns as much of a JSON object or array as has been written, perhaps in a code fence. Undefined if there is none. The
* last string may be a part of the one that is meant. A number or a word counts once something follows it.
*/
function partialJson(text) {
	const before = BEFORE.exec(text);
	if (!before) return void 0;
	try {
		return JSON.parse(closed(text.slice(before[0].length)));
	} catch {
		return;
	}
}
/** The text up to its last complete member, with the brackets closed. */
function closed(text) {
	const brackets = [];
	let isKey = false;
	let member = "";
	let closing = "";
	for (const { 0: token, 1: end, index } of text.matchAll(TOKEN)) {
		const isOpening = token === "{" || token === "[";
		const isClosing = token === "}" || token === "]";
		if (isOpening) brackets.push(CLOSING[token]);
		if (isClosing && brackets.pop() !== token) break;
		const isValue = token !== "," && token !== ":" && !isKey;
		const isWhole = end !== void 0 || index + token.length < text.length;
		if (isOpening || isClosing || isValue && isWhole) {
			member = text.slice(0, index + token.length);
			if (end === "") member = `${member.replace(HALF_ESCAPE, "$1")}"`;
			closing = brackets.toReversed().join("");
		}
		if (brackets.length === 0) break;
		isKey = brackets.at(-1) === "}" && (token === "{" || token === "," || isKey && token !== ":");
	}
	return member + closing;
}
//#endregion
//#region src/state.ts
/** The state before the first question. `fold` begins with it to show a stored run. */
const IDLE = {
	messages: [],
	status: "idle",
	runId: null,
	isOurs: false,
	pending: [],
	budget: null,
	error: null,
	history: {
		isLoaded: false,
		error: null
	}
};
const answerId = (runId) => `${runId}/answer`;
function emptyAnswer(runId) {
	return {
		message_id: answerId(runId),
		run_id: runId,
		role: "assistant",
		content: null,
		parts: [],
		status: "running"
	};
}
/** The answer of a run, if there is one. */
function answerOf({ messages }, runId) {
	return runId === null ? void 0 : messages.findLast(({ message_id }) => message_id === answerId(runId));
}
/** The state with a new version of a run's answer. The run's other messages stay before it and get its status. */
function withAnswer(state, answer) {
	const { run_id, status } = answer;
	const messages = state.messages.filter(({ message_id }) => message_id !== answer.message_id).map((message) => message.run_id === run_id && message.status !== status ? {
		...message,
		status
	} : message);
	const place = messages.findLastIndex((message) => message.run_id === run_id) + 1;
	messages.splice(place || messages.length, 0, answer);
	return {
		...state,
		messages
	};
}
/** The state with this status of a question that has no answer yet. */
function withoutAnswer(state, questionId, status) {
	const messages = state.messages.map((message) => message.message_id === questionId ? {
		...message,
		status
	} : message);
	return {
		...state,
		messages
	};
}
/** The tool calls among the pieces of an answer. */
function callsIn(parts) {
	return parts.flatMap((part) => part.type === "tool_call" ? [part.call] : []);
}
/** Returns the JSON of the arguments that a call is made with: a person's, if they were changed, or else the model's. */
function madeWith({ arguments_text, approval_response }) {
	return approval_response?.arguments_text ?? arguments_text;
}
/** Whether the run waits for answers to calls, or for a larger budget. */
function isWaiting({ pending, budget }) {
	return pending.length > 0 || budget !== null;
}
/** Whether a run, or the run of a message, has not ended. */
function isUnfinished({ status }) {
	return status === "queued" || status === "running" || status === "waiting";
}
/** A message's content as text, with the URLs of its images. */
function textOf(content) {
	if (typeof content === "string") return content;
	return content.map((part) => part.type === "text" ? part.text : part.url).join("\n");
}
const UNDER_WAY = [
	"connecting",
	"streaming",
	"waiting",
	"reconnecting"
];
/** Returns the run of a state in brief. */
function latestAnswer(state) {
	const { parts = [], content, sources = [], data } = answerOf(state, state.runId) ?? {};
	const output = textOf(content ?? "");
	return {
		isStreaming: UNDER_WAY.includes(state.status),
		thinking: parts.map((part) => part.type === "thinking" ? part.text : "").join(""),
		output,
		toolCalls: callsIn(parts),
		sources,
		data,
		partial: data === void 0 ? partialJson(output) : data
	};
}
//#endregion
//#region src/folding.ts
/** The state after events of a run. They are folded together, because a copy of the messages for each costs too much. */
function fold(state, runId, events) {
	const { status, pending, budget, error } = state;
	const before = {
		answer: answerOf(state, runId) ?? emptyAnswer(runId),
		status,
		pending,
		budget,
		error
	};
	const { answer, ...after } = events.reduce(foldEvent, before);
	return withAnswer({
		...state,
		...after
	}, answer);
}
function foldEvent(progress, event) {
	const { answer, pending } = progress;
	switch (event.event) {
		case "step_started": return {
			...progress,
			answer: withModel(withStep(answer), event.data.model)
		};
		case "step_restarted": return {
			...progress,
			answer: withModel(withRestart(answer), event.data.model)
		};
		case "step_finished": return {
			...progress,
			answer: withModel(answer, event.data.model)
		};
		case "source": return {
			...progress,
			answer: {
				...answer,
				sources: [...answer.sources ?? [], event.data]
			}
		};
		case "thinking": return {
			...progress,
			answer: {
				...answer,
				parts: withThinking(answer, event.data.content)
			}
		};
		case "partial_output": return {
			...progress,
			answer: withMoreText(answer, event.data.content)
		};
		case "final_output": return {
			...progress,
			answer: withValue(withText(answer, event.data.content), event.data)
		};
		case "tool_use_delta":
		case "tool_use":
		case "approval_request":
		case "tool_progress": return {
			...progress,
			answer: withCall(answer, event)
		};
		case "waiting": return {
			...progress,
			answer: {
				...answer,
				status: "waiting"
			},
			status: "waiting",
			...pendingIn(answer, event.data)
		};
		case "budget_response": return {
			...progress,
			answer: {
				...answer,
				status: "running"
			},
			status: "streaming",
			budget: null
		};
		case "approval_response":
		case "tool_result": {
			const left = pending.filter(({ tool_call_id }) => tool_call_id !== event.data.tool_call_id);
			const goesOn = progress.status === "waiting" && left.length === 0;
			const resumed = goesOn ? {
				...answer,
				status: "running"
			} : answer;
			const status = goesOn ? "streaming" : progress.status;
			return {
				...progress,
				answer: withCall(resumed, event),
				pending: left,
				status
			};
		}
		case "error": return {
			...progress,
			answer: {
				...answer,
				error: event.data
			},
			error: event.data
		};
		case "complete": {
			const { status, usage } = event.data;
			const { earlier_parts: _parts, earlier_sources: _sources, sources, error, ...whole } = answer;
			const isFailed = status === "failed" && error !== void 0;
			const cited = sources?.length && { sources };
			return {
				answer: {
					...whole,
					...cited,
					status,
					complete: event.data,
					...isFailed && { error }
				},
				status,
				pending: [],
				budget: null,
				error: isFailed ? error : null,
				usage
			};
		}
		default: return progress;
	}
}
/** The answer with a model turn that begins. */
function withStep(answer) {
	const { parts, sources = [] } = answer;
	return {
		...answer,
		content: "",
		earlier_parts: parts.length,
		earlier_sources: sources.length
	};
}
function withModel(answer, model) {
	return model === void 0 ? answer : {
		...answer,
		answered_by: model
	};
}
/** The answer without what the present model turn has said so far. */
function withRestart(answer) {
	const { parts, earlier_parts = 0, sources = [], earlier_sources = 0 } = answer;
	return {
		...answer,
		content: "",
		parts: parts.slice(0, earlier_parts),
		sources: sources.slice(0, earlier_sources)
	};
}
function withThinking({ parts, earlier_parts }, content) {
	const last = parts.at(-1);
	if (last?.type !== "thinking" || parts.length === earlier_parts) return [...parts, {
		type: "thinking",
		text: content
	}];
	return [...parts.slice(0, -1), {
		type: "thinking",
		text: last.text + content
	}];
}
/** The answer with more text of the current step. Parts since its last piece of text stay before it. */
function withMoreText(answer, more) {
	const { content, parts } = answer;
	const last = parts.at(-1);
	const isSame = content && last?.type === "text";
	const part = {
		type: "text",
		text: isSame ? last.text + more : more
	};
	return {
		...answer,
		content: (content ?? "") + more,
		parts: [...isSame ? parts.slice(0, -1) : parts, part]
	};
}
/** The answer with a new text of the current step. */
function withText(answer, text) {
	if (text === answer.content) return answer;
	const place = answer.content ? answer.parts.findLastIndex(({ type }) => type === "text") : -1;
	const part = {
		type: "text",
		text
	};
	const { parts } = answer;
	if (place >= 0) return {
		...answer,
		content: text,
		parts: parts.with(place, part)
	};
	return {
		...answer,
		content: text,
		parts: text === "" ? parts : [...parts, part]
	};
}
/** The answer with its value, if the question has an `output_schema`. */
function withValue(answer, { data, data_text, attempts }) {
	return attempts === void 0 ? answer : {
		...answer,
		data,
		attempts,
		...data_text !== void 0 && { data_text }
	};
}
function withCall(answer, event) {
	const id = event.data.tool_call_id;
	const { parts } = answer;
	const place = parts.findLastIndex((part) => part.type === "tool_call" && part.call.tool_call_id === id);
	const known = parts[place];
	const part = {
		type: "tool_call",
		call: foldCall(known?.type === "tool_call" ? known.call : {
			tool_call_id: id,
			name: "",
			source: "python",
			arguments_text: ""
		}, event)
	};
	return {
		...answer,
		parts: known ? parts.with(place, part) : [...parts, part]
	};
}
function foldCall(call, event) {
	switch (event.event) {
		case "tool_use_delta": {
			const { arguments_delta, ...about } = event.data;
			return {
				...call,
				...about,
				arguments_text: call.arguments_text + arguments_delta
			};
		}
		case "tool_use": {
			const { invalid_arguments, ...about } = event.data;
			return {
				...call,
				...about,
				...invalid_arguments !== void 0 && { arguments_text: invalid_arguments }
			};
		}
		case "approval_request": return {
			...call,
			approval_request: event.data
		};
		case "approval_response": return {
			...call,
			approval_response: event.data
		};
		case "tool_progress": return {
			...call,
			progress: event.data
		};
		case "tool_result": return {
			...call,
			result: event.data
		};
	}
}
/** What the run waits for. A kind that this version doesn't know is left out. */
function pendingIn(answer, { pending }) {
	return {
		pending: pending.flatMap((item) => "tool_call_id" in item ? [pendingCall(answer, item)] : []),
		budget: pending.find((item) => item.kind === "budget") ?? null
	};
}
function pendingCall({ parts }, call) {
	const known = callsIn(parts).find(({ tool_call_id }) => tool_call_id === call.tool_call_id);
	return {
		...call,
		arguments: known?.arguments ?? {},
		arguments_text: known?.arguments_text ?? "{}",
		...known?.approval_request && { expires_at: known.approval_request.expires_at }
	};
}
//#endregion
//#region src/run_requests.ts
/** Sends the question of a run. However often that is done, it is one run, because the key stays the same. */
function ask(service, { route, asked, key }, { isPolled, ...call }) {
	const headers = {
		Accept: "application/json",
		"Idempotency-Key": key
	};
	const wait = isPolled ? `${route.includes("?") ? "&" : "?"}wait=false` : "";
	return service.post(route + wait, asked ?? {}, {
		...call,
		headers
	});
}
/** Returns the id of the run in the response to a question, and leaves its stream, which a route of your own may send anyway. */
async function startedIn(response) {
	const id = response.headers.get("X-Run-ID");
	if (isStream(response)) response.body.cancel();
	else await response.arrayBuffer().catch(() => null);
	return id;
}
/** The requests about one run. Each rejects with a RunFailed. */
var RunRequests = class {
	/** How long the service asked the client to wait before its next request, in milliseconds. */
	retryAfterMs = 0;
	/** The latest request for a stream or a run. After the first response, the run's id is known. */
	opening = Promise.resolve();
	service;
	run;
	learn;
	/** `learn` is called with the run's id. */
	constructor(service, run, learn) {
		this.service = service;
		this.run = run;
		this.learn = learn;
	}
	/**
	* Starts the run, or opens a stream of the events after the last one read. Resolves with null if the run had ended there
	* before it was first read.
	*/
	open(call) {
		const opening = this.run.id === null ? this.start(call) : this.attach(call);
		this.opening = opening;
		return opening;
	}
	/** Starts the run without a stream. */
	begin(call) {
		const opening = this.startPolled(call);
		this.opening = opening;
		return opening;
	}
	/** Gets the events after the last one read that exist now. */
	poll(call) {
		return this.framesAfter(this.run.lastSeq, call);
	}
	/** Gets the data of the last event of a run that has ended. */
	async end(call) {
		const { last_seq } = await this.record(call);
		const event = (await this.framesAfter(last_seq - 1, call)).at(-1)?.event;
		if (event?.event !== "complete") throw new RunFailed(incomplete().error, { isFinal: true });
		return event.data;
	}
	/** Gets the error of a run that has failed. */
	async error(call) {
		return (await this.record(call)).error ?? incomplete().error;
	}
	async record(call) {
		const response = await this.answered(this.service.request(this.run.path, call));
		if (response.status !== 200) throw await this.failure(response, false);
		return await this.answered(response.json());
	}
	async framesAfter(seq, call) {
		const path = `${this.run.path}/events?wait=false&after=${seq}`;
		const response = await this.answered(this.service.request(path, call));
		if (response.status !== 200) throw await this.failure(response, false);
		return framesIn(await this.answered(response.text()));
	}
	/** Whether the run has events after the last one read. Resolves with false if the run can't be read for now. Rejects if it is useless to try again. */
	async hasMore(call) {
		const response = await this.service.request(this.run.path, call).catch(() => null);
		if (response?.ok) {
			const run = await response.json().catch(() => null);
			return run !== null && run.last_seq > this.run.lastSeq;
		}
		const failure = response && await refusal(response);
		if (failure?.isFinal) throw failure;
		return false;
	}
	async start(call) {
		const response = await this.accepted(call, isStream);
		const id = response.headers.get("X-Run-ID");
		if (id) this.learn(id);
		return response;
	}
	async startPolled(call) {
		const hasRun = (response) => response.status === 202 || isStream(response);
		const id = await startedIn(await this.accepted({
			...call,
			isPolled: true
		}, hasRun));
		if (id) this.learn(id);
	}
	/** Asks the question, and resolves with a response that shows that it was accepted. */
	async accepted(call, isAccepted) {
		try {
			const response = await this.answered(ask(this.service, this.run, call));
			if (isAccepted(response)) return response;
			throw await this.failure(response, true);
		} catch (cause) {
			if (isOutage(cause)) this.run.isInDoubt = true;
			throw cause;
		}
	}
	async attach(call) {
		const headers = {
			Accept: "text/event-stream",
			"Last-Event-ID": String(this.run.lastSeq)
		};
		const response = await this.answered(this.service.request(`${this.run.path}/events`, {
			...call,
			headers
		}));
		if (isStream(response)) return response;
		if (response.status === 204 && !this.run.wasConnected) return null;
		throw await this.failure(response, false);
	}
	answered(request) {
		return request.catch((cause) => {
			throw failureOf(cause, this.service.url);
		});
	}
	async failure(response, isQuestion) {
		this.retryAfterMs = retryAfter(response);
		if (response.status === 204) return new RunFailed(incomplete().error, { isFinal: true });
		const refused = await refusal(response, isQuestion);
		return isQuestion && this.retryAfterMs === 0 && !isForeign(refused.error) ? new RunFailed(refused.error, { isFinal: true }) : refused;
	}
};
//#endregion
//#region src/run_reader.ts
/**
* Reads a run to its end, over as many connections as necessary: without one while the run waits, and by polling while
* other pages hold the streams.
*/
var RunReader = class {
	/** Closes the connection for a while, because another tab needs one. */
	giveWay = () => {};
	service;
	run;
	page;
	requests;
	leaving = new AbortController();
	/** Connections in a row that brought nothing new. */
	failures = 0;
	/** How long the service asks the client to wait before it reconnects. */
	awayMs = 0;
	/** Until then, this tab leaves the streams to others. */
	yieldsUntil = 0;
	isResting = false;
	resumed = null;
	/** Whether this page has closed the latest stream before its end. */
	hasClosed = false;
	/**
	* The slot of a stream that this page has closed. It is released after the next response: before that, the browser may
	* still hold the connection, and another tab would open a stream too many.
	*/
	closing = null;
	isWoken = false;
	endRest = () => {};
	constructor(service, run, page) {
		this.service = service;
		this.run = run;
		this.page = page;
		this.requests = new RunRequests(service, run, page.learn);
	}
	get signal() {
		return this.leaving.signal;
	}
	/** Resolves once there is a response to the question, whatever it is. Then the run's id is known, if it has one. */
	async answered() {
		await this.requests.opening.catch(() => null);
	}
	/** Stops reading. The run itself continues. */
	leave() {
		this.leaving.abort();
	}
	/** Ends the current pause, or else the next one. */
	wake() {
		this.isWoken = true;
		this.endRest();
	}
	/** Takes a slot for the stream in the response to an answer. Resolves with null if none is free, or none is needed. */
	async slotForAnswer() {
		return this.isResting && !this.resumed ? this.takeSlot() : null;
	}
	/** Accepts the stream in the response to an answer. One is enough. */
	resume(resumed) {
		if (resumed.slot && this.isResting && !this.resumed) this.resumed = resumed;
		else discard(resumed);
	}
	/** Resolves with the data of `complete`, or with null if the page has left the run. Throws a RunFailed. */
	async read() {
		let complete = null;
		try {
			while (!complete && this.page.isCurrent() && !this.signal.aborted) {
				const resumed = this.page.isWaiting() ? await this.untilResumed() : null;
				const slot = resumed?.slot ?? await this.takeSlot();
				complete = slot ? await this.stream(slot, resumed?.stream) : await this.poll();
			}
			return complete;
		} finally {
			this.handOver();
			if (this.resumed) discard(this.resumed);
		}
	}
	async takeSlot() {
		return Date.now() < this.yieldsUntil ? null : this.service.slots.take();
	}
	handOver() {
		this.closing?.release();
		this.closing = null;
	}
	/** Reads one connection. Returns `complete`, or null when another connection is needed or the run waits. */
	async stream(slot, resumed) {
		try {
			const stream = resumed ?? await this.connect();
			if (!stream) return await this.persist((call) => this.requests.end(call));
			if (!this.signal.aborted) return await this.readStream(stream);
			stream.body.cancel();
			return null;
		} finally {
			if (this.hasClosed) this.closing = slot;
			else slot.release();
		}
	}
	/** Reads the events so far, because all streams are taken, and waits for the next look. */
	async poll() {
		if (this.run.id === null) await this.persist((call) => this.requests.begin(call));
		const frames = await this.persist((call) => this.requests.poll(call));
		this.handOver();
		if (!frames) return null;
		this.heard(frames);
		this.page.change(connected);
		const complete = this.page.take(frames);
		if (complete || this.page.isWaiting() || !this.page.isCurrent()) return complete;
		this.service.slots.ask();
		await this.rest(isHidden() ? HIDDEN_POLL_MS : POLL_MS);
		return null;
	}
	/** Resolves with the error of a run that has failed, or with null if the page has left the run. Throws a RunFailed. */
	error() {
		return this.persist((call) => this.requests.error(call));
	}
	/** Opens a stream of the events after the last one read. Resolves with null if there are none, or after `leave`. */
	connect() {
		return this.persist((call) => this.requests.open(call));
	}
	/** Makes a request, and tries again until it succeeds or another try is useless. Resolves with null after `leave`. */
	async persist(request) {
		const { error } = unreachable(this.service.url);
		const onSlow = () => this.page.change((state) => ({
			...state,
			error
		}));
		while (!this.signal.aborted) {
			if (this.awayMs > 0) await pause(this.awayMs, this.signal);
			if (this.failures > 0) await this.rest(retryDelay(this.failures - 1));
			if (this.signal.aborted || !this.page.isCurrent()) break;
			try {
				return await request({
					signal: this.signal,
					onSlow
				});
			} catch (cause) {
				if (this.signal.aborted) break;
				if (!(cause instanceof RunFailed) || cause.isFinal) throw cause;
				this.awayMs = this.requests.retryAfterMs;
				this.countFailure(cause);
				this.page.change((state) => ({
					...state,
					error: cause.error
				}));
			}
		}
		return null;
	}
	countFailure(failure) {
		const { storageKey, maxRetries = this.run.id || storageKey ? Infinity : 5 } = this.service.options;
		if (this.failures >= maxRetries) throw failure;
		this.failures += 1;
		const status = this.run.wasConnected ? "reconnecting" : "connecting";
		this.page.change((state) => ({
			...state,
			status
		}));
	}
	async readStream({ body }) {
		this.heard([]);
		this.page.change(connected);
		const reader = new EventReader(body, this.run.lastSeq, this.service.silenceMs, this.signal);
		this.hasClosed = false;
		this.giveWay = () => {
			this.hasClosed = true;
			reader.close();
		};
		for await (const { frames, retryMs } of reader.batches()) {
			this.awayMs = retryMs || this.awayMs;
			if (frames.length === 0) continue;
			this.failures = 0;
			const complete = this.page.take(frames);
			if (complete) return complete;
			this.hasClosed = this.page.isWaiting() || !this.page.isCurrent();
			if (this.hasClosed) return null;
		}
		if (this.hasClosed) this.yieldsUntil = Date.now() + YIELD_MS;
		else if (this.page.isCurrent() && !this.signal.aborted) this.countFailure(incomplete());
		return null;
	}
	/** Notes that the service has responded, with these frames. */
	heard(frames) {
		this.run.wasConnected = true;
		this.awayMs = 0;
		if (frames.length > 0) this.failures = 0;
	}
	/**
	* Waits without a connection until the run has resumed, because a browser has six connections for all tabs. Resolves with
	* the stream in the response to an answer of this page, or with null if the answer came from elsewhere.
	*/
	async untilResumed() {
		this.isResting = true;
		try {
			const hasResumed = await this.hasResumed();
			this.handOver();
			if (!hasResumed) {
				this.page.makeCalls();
				await this.untilLooked();
			}
		} finally {
			this.isResting = false;
		}
		const { resumed } = this;
		this.resumed = null;
		return resumed;
	}
	/** Checks from time to time, while the page is visible, for an answer from elsewhere. */
	async untilLooked() {
		for (let looks = 0;; looks += 1) {
			if (await this.rest(isHidden() ? LONGEST_TIMER_MS : retryDelay(looks))) looks = -1;
			if (this.resumed || this.signal.aborted || await this.hasResumed()) return;
		}
	}
	hasResumed() {
		return this.requests.hasMore({ signal: this.signal });
	}
	async rest(ms) {
		const wasWoken = this.isWoken || await rest(ms, this.signal, (end) => this.endRest = end);
		this.isWoken = false;
		return wasWoken;
	}
};
async function discard({ stream, slot }) {
	await stream.body.cancel();
	slot?.release();
}
function connected(state) {
	const { error } = state;
	const isAboutQuestion = error?.code === "session_busy";
	return {
		...state,
		status: isWaiting(state) ? "waiting" : "streaming",
		error: isAboutQuestion ? error : null
	};
}
//#endregion
//#region src/run.ts
/**
* A run of the agent. Iterate over it for its events, from the first, each once and in order. It is read from the moment
* it is made, over as many connections as necessary, whether or not anybody iterates.
*
* The iteration ends after `complete`. It throws a RunFailed if the run failed or can't be read to its end.
*/
var Run = class {
	/** Resolves with the run's id as soon as it is known. */
	started;
	/** Resolves with the data of the last event. Rejects with a RunFailed if the run failed or can't be read to its end. */
	complete;
	service;
	run;
	reader;
	answers;
	clientCalls;
	events = [];
	state = IDLE;
	isOver = false;
	news = new News();
	learn = () => {};
	constructor(service, run, signal) {
		this.service = service;
		this.run = run;
		this.answers = new Answers(service);
		this.clientCalls = new ClientCalls(service, (_, callId, outcome) => this.send(callId, outcome));
		this.reader = run.reader = this.readerOf(run);
		this.complete = this.read(signal);
		const id = new Promise((resolve) => this.learn = resolve);
		if (run.id) this.learn(run.id);
		this.started = Promise.race([id, this.complete.then(() => run.id ?? "")]);
		for (const promise of [this.started, this.complete]) promise.catch(() => {});
	}
	/** The run's id, or null until it is known. */
	get id() {
		return this.run.id;
	}
	/** As much of the answer's value as has been written, and at the end the one that matches the `output_schema`. */
	get data() {
		return latestAnswer({
			...this.state,
			runId: this.id
		}).partial;
	}
	/** The budget, while the run waits for a larger one. */
	get budget() {
		return this.state.budget;
	}
	async *[Symbol.asyncIterator]() {
		for (let place = 0; place < this.events.length || !this.isOver;) {
			const event = this.events[place];
			if (event) yield event;
			else await this.news.next;
			if (event) place += 1;
		}
		await this.complete;
	}
	/**
	* The pieces of the answer. If the service drops pieces that were yielded and begins again, it calls `onRestart`: remove
	* what you have shown of the present model turn. Without `onRestart`, the iteration throws a RunFailed there, because
	* pieces of two attempts are no answer. The run continues, and `complete` and the events have its answer.
	*/
	async *text({ onRestart } = {}) {
		let hasYielded = false;
		for await (const event of this) {
			if (event.event === "step_started") hasYielded = false;
			if (event.event === "step_restarted" && hasYielded) {
				if (!onRestart) throw restarted();
				onRestart(event.data);
				hasYielded = false;
			}
			if (event.event !== "partial_output") continue;
			hasYielded = true;
			yield event.data.content;
		}
	}
	/** Cancels the run. Its last event says so. */
	async cancel() {
		await cancelRun(new Api(this.service), await this.started);
	}
	/** Approves a call, perhaps with other arguments. Rejects with a RunFailed if the service refuses the decision. */
	async approve(callId, changes = {}) {
		await this.decide(callId, approval(changes));
	}
	/** Refuses a call. The model receives the reason. */
	refuse(callId, reason) {
		return this.decide(callId, {
			approved: false,
			...reason && { reason }
		});
	}
	/** Sets new totals of a budget that is spent, so that the run resumes. Rejects with a RunFailed if they are refused. */
	async raiseBudget(totals) {
		raise(await this.answers.send(this.run, "budget", {
			approved: true,
			...totals
		}));
	}
	/** Ends the run, whose budget is spent. It then fails with `budget_exceeded`. */
	async refuseBudget() {
		raise(await this.answers.send(this.run, "budget", { approved: false }));
	}
	/** Sends the result of a call of the client's own tools that `clientTools` doesn't handle. */
	async sendToolResult(callId, content, { isError = false } = {}) {
		raise(await this.send(callId, {
			content,
			is_error: isError
		}));
	}
	async decide(callId, decision) {
		raise(await this.answers.send(this.run, `approvals/${encodeURIComponent(callId)}`, decision));
	}
	send(tool_call_id, outcome) {
		return this.answers.send(this.run, "tool-results", { results: [{
			tool_call_id,
			...outcome
		}] });
	}
	readerOf(run) {
		return new RunReader(this.service, run, {
			isCurrent: () => true,
			isWaiting: () => isWaiting(this.state),
			change: (change) => this.state = change(this.state),
			learn: (id) => this.know(id),
			take: (frames) => this.take(frames),
			makeCalls: () => this.clientCalls.make(run, this.state.pending)
		});
	}
	async read(signal) {
		const leave = () => this.reader.leave();
		signal?.addEventListener("abort", leave);
		try {
			signal?.throwIfAborted();
			const complete = await this.reader.read();
			signal?.throwIfAborted();
			const error = complete?.status === "failed" ? this.state.error ?? await this.reader.error() : null;
			signal?.throwIfAborted();
			if (error) throw new RunFailed(error);
			return complete;
		} finally {
			signal?.removeEventListener("abort", leave);
			this.isOver = true;
			this.clientCalls.forget(this.run);
			this.news.notify();
		}
	}
	know(id) {
		this.run.id ??= id;
		this.learn(id);
	}
	/** Keeps the events for those who iterate. Returns the data of `complete`. */
	take(frames) {
		const [first] = frames;
		if (!first) return null;
		this.know(first.event.run_id);
		const events = frames.map(({ event }) => event);
		this.state = fold(this.state, first.event.run_id, events);
		for (const frame of frames) {
			const { event } = frame;
			this.run.lastSeq = event.seq;
			if (event.event === "tool_use") this.run.calls.set(event.data.tool_call_id, event.data.arguments_text);
			this.service.options.onFrame?.(frame);
			this.events.push(event);
		}
		this.news.notify();
		const last = events.at(-1);
		return last?.event === "complete" ? last.data : null;
	}
};
/** A promise that is replaced each time it resolves. */
var News = class {
	next;
	resolve = () => {};
	constructor() {
		this.next = this.renewed();
	}
	notify() {
		const { resolve } = this;
		this.next = this.renewed();
		resolve();
	}
	renewed() {
		return new Promise((resolve) => this.resolve = resolve);
	}
};
function raise(error) {
	if (error) throw new RunFailed(error);
}
//#endregion
//#region src/client.ts
/** The client of a service. It has no state: each run is an object of its own. Its promises reject with a RunFailed. */
var AgentStream = class {
	runs;
	sessions;
	options;
	api;
	constructor(options = {}) {
		this.options = options;
		this.api = new Api(new Service(options));
		this.runs = new RunsResource(this.api);
		this.sessions = new SessionsResource(this.api);
	}
	/** Asks the agent. The request is sent at once. */
	stream(input, options = {}) {
		return this.start("/api/agent/stream", asRequest(input), options);
	}
	/** Plays a script in place of a model's answer, for tests and demonstrations. */
	simulate(request, options = {}) {
		return this.start("/api/agent/stream/simulate", request, options);
	}
	/** Reads a run from the event after `after` on, and makes the calls of `clientTools` that it reads. */
	attach(runId, { after = 0, signal, ...options } = {}) {
		const run = new FollowedRun({
			id: runId,
			isOurs: true
		});
		run.lastSeq = after;
		return new Run(new Service({
			...this.options,
			...options
		}), run, signal);
	}
	/** Asks the agent, and resolves with the whole answer, or with the calls that the run waits for. */
	execute(input, { signal, idempotencyKey = newKey() } = {}) {
		const headers = { "Idempotency-Key": idempotencyKey };
		return this.api.json("POST", "/api/agent/execute", {
			body: asRequest(input),
			headers,
			signal,
			isLong: true,
			hasCalls: true
		});
	}
	/** Cancels a run. Resolves when the service has accepted that. */
	cancel(runId) {
		return cancelRun(this.api, runId);
	}
	/** Decides on a call that needs approval. The run resumes when each call that it waits for has its answer. */
	async approve(runId, callId, decision = { approved: true }) {
		const path = `${runPath(runId)}/approvals/${encodeURIComponent(callId)}`;
		return this.api.json("POST", path, { body: decision.approved ? approval(decision) : decision });
	}
	/** Sends the results of calls of the client's own tools. */
	toolResults(runId, results) {
		return this.api.json("POST", `${runPath(runId)}/tool-results`, { body: { results } });
	}
	models() {
		return this.api.json("GET", "/api/agent/models");
	}
	tools() {
		return this.api.json("GET", "/api/agent/tools");
	}
	mcpServers() {
		return this.api.json("GET", "/api/agent/mcp-servers");
	}
	start(route, request, options) {
		const { signal, idempotencyKey, ...others } = options;
		const run = new FollowedRun({
			asked: {
				...withTools(options.clientTools),
				...request
			},
			route,
			isOurs: true,
			key: idempotencyKey
		});
		return new Run(new Service({
			...this.options,
			...others
		}), run, signal);
	}
};
//#endregion
//#region src/ownership.ts
/** The claims of this page, by the names of their locks. */
const claims = /* @__PURE__ */ new Map();
/** A claim of this page to a run, which its components share. */
var Claim = class {
	/** Whether this page has the run. Resolves with false if another page keeps it. */
	isGranted;
	/** The run of each component, with what is called when another page has it. */
	holders = /* @__PURE__ */ new Map();
	waiting = new AbortController();
	free = () => {};
	constructor(locks, name, takesOver) {
		const options = takesOver ? { steal: true } : { signal: this.waiting.signal };
		this.isGranted = new Promise((resolve) => {
			const hold = () => {
				resolve(true);
				return this.untilReleased();
			};
			locks.request(name, options, hold).catch(() => {
				resolve(false);
				if (claims.get(name) === this) claims.delete(name);
				for (const lose of this.holders.values()) lose();
			});
		});
		setTimeout(() => this.waiting.abort(), CLAIM_MS);
	}
	release() {
		this.waiting.abort();
		this.free();
	}
	untilReleased() {
		return new Promise((free) => {
			this.free = free;
			if (this.holders.size === 0) free();
		});
	}
};
/** The claim of a conversation to the run that it follows. */
var Ownership = class {
	url;
	lose;
	run = null;
	name = "";
	/** `lose` is called with a run whose calls another page makes. */
	constructor(url, lose) {
		this.url = url;
		this.lose = lose;
	}
	/**
	* Claims a run, in place of the last one. The browser releases the lock of a page that is gone, so a page that is reloaded has
	* its run again. Outside of browsers, and where there are no locks, no other page is expected.
	*/
	claim(run) {
		if (this.run === run) return;
		this.release();
		const locks = globalThis.document && navigator.locks;
		if (!locks || !run.isOurs || !run.id) return;
		this.run = run;
		this.name = `agent-stream run ${this.url()} ${run.id}`;
		const claim = claims.get(this.name) ?? new Claim(locks, this.name, run.takesOver);
		claims.set(this.name, claim);
		claim.holders.set(run, () => this.lose(run));
		run.isGranted = claim.isGranted;
		run.takesOver = false;
	}
	/** Leaves the run to other pages, unless another component of this one follows it. */
	release() {
		const { run, name } = this;
		this.run = null;
		const claim = claims.get(name);
		if (!run || !claim?.holders.delete(run) || claim.holders.size > 0) return;
		claims.delete(name);
		claim.release();
	}
};
//#endregion
//#region src/follower.ts
/** Follows one run at a time: reads its events into the view and remembers it for a reloaded page. */
var Follower = class {
	current = null;
	latest = null;
	/** The answers that this page has read to their end, by run. */
	read = /* @__PURE__ */ new Map();
	service;
	view;
	clientCalls;
	ownership;
	listener;
	constructor(service, view, clientCalls, listener) {
		this.service = service;
		this.view = view;
		this.clientCalls = clientCalls;
		this.ownership = new Ownership(() => service.url, (run) => this.disown(run));
		this.listener = listener;
	}
	get options() {
		return this.service.options;
	}
	/** Shows this run, with `messages` before its answer. */
	begin(run, { messages, error = null } = {}) {
		this.listener.begins();
		this.current = this.latest = run;
		this.remember(run);
		const { id: runId, isOurs } = run;
		const status = run.isStopped ? "stopping" : "connecting";
		this.view.change(({ history: { isLoaded } }) => {
			const before = messages ?? this.conversation() ?? [];
			return {
				...IDLE,
				messages: before,
				status,
				runId,
				isOurs,
				error,
				history: {
					isLoaded,
					error: null
				}
			};
		});
		return run;
	}
	/** Reads a run to its end. Resolves with null if it doesn't reach the end, as `stream` does. */
	async follow(run) {
		this.ownership.claim(run);
		run.reader?.leave();
		const reader = new RunReader(this.service, run, {
			isCurrent: () => this.current === run && run.reader === reader,
			isWaiting: () => this.current === run && isWaiting(this.view.state),
			change: (change) => this.update(run, change),
			learn: (id) => this.learn(run, id),
			take: (frames) => this.take(run, frames, reader.signal),
			makeCalls: () => this.clientCalls.make(run, this.view.state.pending)
		});
		run.reader = reader;
		try {
			return await reader.read();
		} catch (cause) {
			if (reader.signal.aborted || this.current !== run) return null;
			this.fail(run, cause);
			if (cause instanceof RunFailed) return null;
			throw cause;
		}
	}
	/** Shows the run that was under way when the page was left, or a question that had not arrived. Returns it, or null. */
	beginRemembered() {
		const id = kept(this.options) || void 0;
		const about = JSON.parse(kept(this.options, "run") ?? "{}");
		const { asked } = about;
		const isBeingStopped = about.key === this.latest?.key && this.latest?.isStopped;
		if (id === void 0 && !asked || isBeingStopped) return null;
		const run = new FollowedRun({
			...about,
			...id && { id },
			isOurs: true,
			isInDoubt: id === void 0
		});
		return this.begin(run, asked ? { messages: withQuestion(this.conversation(), questionOf(run), asked) } : {});
	}
	/** The messages to which a question is added: those of the session, if there is one. */
	conversation() {
		return this.options.sessionId === void 0 ? null : this.view.state.messages;
	}
	/** Shows a change, unless another run has taken this one's place. */
	update(run, change) {
		if (this.current === run) this.view.change(change);
	}
	/** Notes that a run has ended. */
	finish(run) {
		const answer = answerOf(this.view.state, run.id);
		if (answer) this.read.set(answer.run_id, answer);
		this.release(run);
		this.forget(run);
	}
	/** Makes room for another run, because this one has ended or was stopped. */
	release(run) {
		run.isOver = true;
		this.current = null;
		this.ownership.release();
		this.clientCalls.forget(run);
		this.listener.released(run);
	}
	/** Removes what is kept of a run for a reloaded page, unless another run has taken its place. */
	forget({ key }) {
		if (JSON.parse(kept(this.options, "run") ?? "{}").key !== key) return;
		keep(this.options, "", null);
		keep(this.options, "run", null);
	}
	/** Stops reading until the run is followed again. The run itself continues. */
	pause() {
		this.current?.reader?.leave();
		this.ownership.release();
	}
	/** Stops following. The run itself continues. */
	leave() {
		this.pause();
		this.current = null;
	}
	forgetAll() {
		this.leave();
		this.latest = null;
		this.read.clear();
		this.view.change(() => IDLE);
	}
	/** Passes events to `onFrame`, shows them, and passes them to `onEvent`. Returns the data of `complete`. */
	take(run, frames, signal) {
		const [first] = frames;
		if (!first) return null;
		const runId = first.event.run_id;
		this.learn(run, runId);
		const isLeft = () => signal.aborted || this.current !== run;
		for (const frame of frames) if (!isLeft()) this.options.onFrame?.(frame);
		const events = frames.map(({ event }) => event);
		this.update(run, (state) => fold(state, runId, events));
		for (const event of events) {
			if (isLeft()) return null;
			run.lastSeq = event.seq;
			run.onEvent?.(event);
			if (event.event === "tool_use") run.calls.set(event.data.tool_call_id, event.data.arguments_text);
			if (event.event !== "complete") continue;
			this.finish(run);
			this.listener.ended();
			return event.data;
		}
		return null;
	}
	/** Notes that another page makes the calls of a run. */
	disown(run) {
		run.isOurs = false;
		this.update(run, (state) => ({
			...state,
			isOurs: false
		}));
	}
	fail(run, cause) {
		const isOurs = cause instanceof RunFailed;
		const error = isOurs ? cause.error : {
			code: "callback",
			message: String(cause),
			retryable: false
		};
		run.isGone = isOurs && cause.isGone;
		this.update(run, (state) => {
			const answer = answerOf(state, run.id);
			const failed = {
				...state,
				status: "failed",
				pending: [],
				budget: null,
				error
			};
			if (!answer) return withoutAnswer(failed, run.key, "failed");
			return withAnswer(failed, {
				...answer,
				status: "failed",
				error
			});
		});
		const isRefused = isOurs && cause.isFinal && !run.id;
		if (!isOurs || run.isGone || isRefused) this.finish(run);
		this.current = null;
		this.listener.ended();
	}
	/** Notes the id of a run. */
	learn(run, id) {
		if (run.id) return;
		run.id = id;
		if (this.latest !== run) return;
		this.remember(run);
		if (!run.isOver) this.ownership.claim(run);
		this.view.change((state) => ({
			...state,
			runId: id,
			messages: state.messages.map((message) => message.message_id === run.key ? {
				...message,
				run_id: id
			} : message)
		}));
		this.listener.started(run);
	}
	/** Keeps what a reloaded page needs: the run, or the question until the service has accepted it. */
	remember(run) {
		const { id, key, asked, route, isStopped } = run;
		const about = {
			key,
			asked,
			route,
			isStopped
		};
		keep(this.options, "", id);
		keep(this.options, "run", JSON.stringify(about));
	}
};
//#endregion
//#region src/history.ts
/** The messages of these runs. An answer that this page has read stays unchanged: the service doesn't store all of it. */
function conversation(tree, runIds, read) {
	return runIds.flatMap((runId) => {
		const ofRun = tree.of(runId);
		const runIds = tree.versions(runId);
		const branches = runIds.length > 1 && { branches: {
			runIds,
			index: runIds.indexOf(runId)
		} };
		const shown = ofRun.filter(({ role }) => role === "user").map(({ message_id, content, status }) => {
			return {
				message_id,
				run_id: runId,
				role: "user",
				content,
				parts: [],
				status,
				...branches
			};
		});
		const last = ofRun.at(-1);
		return last && !isUnfinished(last) ? [...shown, read.get(runId) ?? storedAnswer(ofRun, last)] : shown;
	});
}
/** The messages, each as the object that is shown already if it is the same: a page then doesn't render it again. */
function withShown(messages, shown) {
	const before = new Map(shown.map((message) => [message.message_id, message]));
	return messages.map((message) => {
		const known = before.get(message.message_id);
		return known && JSON.stringify(known) === JSON.stringify(message) ? known : message;
	});
}
/** The answer of a run that has ended, from its messages. A run that failed early has only its question. */
function storedAnswer(ofRun, { run_id, status, answered_by, error }) {
	const said = ofRun.filter(({ role }) => role === "assistant");
	const sources = said.flatMap((message) => message.sources ?? []);
	const { data, data_text, attempts } = said.findLast((message) => message.attempts !== void 0) ?? {};
	return {
		...emptyAnswer(run_id),
		content: said.at(-1)?.content ?? null,
		parts: said.flatMap(storedParts),
		...sources.length > 0 && { sources },
		...attempts !== void 0 && {
			data,
			attempts
		},
		...data_text !== void 0 && { data_text },
		...answered_by !== void 0 && { answered_by },
		status,
		...error && { error }
	};
}
function storedParts({ thinking, content, tool_calls = [] }) {
	const text = content === null ? "" : textOf(content);
	return [
		...thinking ? [{
			type: "thinking",
			text: thinking
		}] : [],
		...text ? [{
			type: "text",
			text
		}] : [],
		...tool_calls.map((call) => ({
			type: "tool_call",
			call: storedCall(call)
		}))
	];
}
function storedCall(stored) {
	const { result, is_error = false, source = "python", ...call } = stored;
	const { tool_call_id, name } = call;
	return {
		...call,
		source,
		...result !== void 0 && { result: {
			tool_call_id,
			name,
			content: result,
			is_error,
			truncated: false
		} }
	};
}
//#endregion
//#region src/session_tree.ts
/** The runs of a session. They are a tree, because a question can be edited or asked again. */
var SessionTree = class {
	messages = /* @__PURE__ */ new Map();
	/** The runs that follow a run, the first one first. Those without a parent follow "". */
	children = /* @__PURE__ */ new Map();
	parents = /* @__PURE__ */ new Map();
	/** `messages` are those of all branches, in the order in which they were stored. */
	constructor(messages) {
		const runOf = new Map(messages.map(({ message_id, run_id }) => [message_id, run_id]));
		for (const message of messages) {
			const { run_id, parent_id } = message;
			if (!this.messages.has(run_id)) this.add(run_id, runOf.get(parent_id ?? "") ?? "");
			this.messages.get(run_id)?.push(message);
		}
	}
	/** The messages of a run, or none if the session doesn't have it. */
	of(runId) {
		return this.messages.get(runId) ?? [];
	}
	has(runId) {
		return this.messages.has(runId);
	}
	/** The run that was asked last, or undefined in an empty session. */
	latest() {
		return [...this.messages.keys()].at(-1);
	}
	/** The runs of a branch: those before this run, the run, and the latest ones after it. */
	branch(runId) {
		const runs = [];
		for (let run = runId; this.has(run); run = this.parents.get(run) ?? "") runs.unshift(run);
		for (let next = this.lastChild(runId); next !== void 0; next = this.lastChild(next)) runs.push(next);
		return runs;
	}
	/** The runs in the same place as this one, which is among them: other versions of its question, or of its answer. */
	versions(runId) {
		return this.children.get(this.parents.get(runId) ?? "") ?? [];
	}
	add(runId, parent) {
		this.messages.set(runId, []);
		this.parents.set(runId, parent);
		this.children.set(parent, [...this.children.get(parent) ?? [], runId]);
	}
	lastChild(runId) {
		return this.children.get(runId)?.at(-1);
	}
};
//#endregion
//#region src/session_loader.ts
/** Loads the session as the service has stored it, shows one of its branches, and follows a run of it that is under way. */
var SessionLoader = class {
	service;
	view;
	follower;
	loading = new AbortController();
	tree = new SessionTree([]);
	/** The run whose branch the user has chosen. Without it, the latest branch is shown. */
	chosen = null;
	isOpen = false;
	endRest = () => {};
	constructor(service, view, follower) {
		this.service = service;
		this.view = view;
		this.follower = follower;
	}
	get sessionId() {
		return this.service.options.sessionId;
	}
	/** Loads the session from now on, when it may have changed. */
	open() {
		this.isOpen = true;
		this.load();
	}
	/** Loads nothing more until `open`, because the page is left. */
	close() {
		this.isOpen = false;
		this.stop();
	}
	/** Drops what is being loaded. */
	stop() {
		this.loading.abort();
	}
	/** Forgets the session, because another one is shown. */
	forget() {
		this.tree = new SessionTree([]);
		this.chosen = null;
	}
	/** The fields of a question that continues the branch that the user has chosen. */
	place() {
		const end = this.chosen === null ? void 0 : this.tree.branch(this.chosen).at(-1);
		return end === void 0 ? {} : {
			parent_run_id: end,
			parent_state: "after"
		};
	}
	/** Shows the branch with this run, or with null the latest. */
	choose(runId) {
		this.chosen = runId;
	}
	/** Shows the branch with this run, or with null the latest. A run that was followed until now continues by itself. */
	async showBranch(runId) {
		this.follower.leave();
		this.choose(runId);
		this.view.change(({ messages, history }) => this.withStored({
			...IDLE,
			messages,
			history
		}));
		await this.load();
	}
	/** Checks for a question of another page in the session. */
	async look() {
		const { sessionId, follower } = this;
		if (sessionId === void 0 || follower.current || isHidden()) return;
		const { signal } = this.loading;
		const runs = await this.latestRuns(sessionId, signal).catch(() => []);
		const isShown = (id) => this.tree.has(id) || this.view.state.messages.some(({ run_id }) => run_id === id);
		if (!follower.current && !signal.aborted && runs.some(({ run_id }) => !isShown(run_id))) this.load();
	}
	/** Tries at once to load a session that could not be loaded. */
	wake() {
		this.endRest();
	}
	/** Shows the session. If the service can't be reached, the page stays as it is until it can. */
	async load() {
		const { sessionId, follower } = this;
		if (sessionId === void 0 || !this.isOpen) return;
		this.loading.abort();
		const { signal } = this.loading = new AbortController();
		const stored = await this.persist(sessionId, signal);
		if (!stored || signal.aborted) return;
		this.tree = new SessionTree(stored);
		this.view.change((state) => ({
			...this.withStored(state),
			history: {
				isLoaded: true,
				error: null
			}
		}));
		if (follower.current) return;
		const unfinished = this.shownRuns().find((runId) => this.isUnderWay(runId));
		if (unfinished === void 0) return;
		const { error } = this.view.state;
		const isInTheWay = error?.code === "session_busy";
		const run = new FollowedRun({
			id: unfinished,
			isOurs: follower.latest?.id === unfinished && follower.latest.isOurs
		});
		follower.follow(follower.begin(run, { error: isInTheWay ? error : null }));
	}
	/** Whether a question did not reach the service, or the service doesn't have its run in the session. */
	isMissing(runId) {
		const { latest } = this.follower;
		return runId === "" ? !latest?.isOver : latest?.id === runId && latest.isGone;
	}
	isUnderWay(runId) {
		const { latest } = this.follower;
		return this.tree.of(runId).some(isUnfinished) && !(latest?.id === runId && latest.isOver);
	}
	/** The runs of the branch that is shown: with the chosen run, with the run that is followed, or else the latest. */
	shownRuns() {
		const followed = this.follower.current?.id ?? "";
		const runId = this.chosen ?? (this.tree.has(followed) ? followed : this.tree.latest());
		return runId === void 0 ? [] : this.tree.branch(runId);
	}
	/** The stored branch, with a question that the service doesn't have and an answer under way. */
	withStored(state) {
		const shown = this.shownRuns();
		const stored = conversation(this.tree, shown, this.follower.read);
		const isKept = ({ run_id }) => run_id !== "" && !this.tree.has(run_id) && this.isMissing(run_id);
		const messages = this.withUnsent(withKept(stored, state.messages, isKept), state.messages);
		const loaded = {
			...state,
			messages
		};
		const answer = answerOf(state, state.runId);
		const { messages: all } = answer && shown.includes(answer.run_id) && !answerOf(loaded, state.runId) ? withAnswer(loaded, answer) : loaded;
		return {
			...loaded,
			messages: withShown(all, state.messages)
		};
	}
	/** The messages with the question that has not arrived yet, in its place. */
	withUnsent(messages, shown) {
		const { latest } = this.follower;
		const question = shown.find(({ message_id }) => message_id === latest?.key);
		return latest?.isUnsent && latest.asked && question ? withQuestion(messages, question, latest.asked) : messages;
	}
	/** Loads the session's messages, however long the service can't be reached. Resolves with null if that is useless. */
	async persist(sessionId, signal) {
		for (let failures = 0; !signal.aborted; failures += 1) try {
			return await this.storedMessages(sessionId, signal);
		} catch (cause) {
			if (signal.aborted) break;
			const { error, isFinal } = failureOf(cause, this.service.url);
			this.view.change((state) => ({
				...state,
				history: {
					...state.history,
					error
				}
			}));
			if (isFinal) break;
			await pause((error.retry_after ?? 0) * 1e3, signal);
			await rest(retryDelay(failures), signal, (end) => this.endRest = end);
		}
		return null;
	}
	/** The messages of all branches. A session that has no question yet has none. */
	async storedMessages(sessionId, signal) {
		if (this.tree.latest() === void 0 && (await this.latestRuns(sessionId, signal)).length === 0) return [];
		const messages = [];
		const query = new URLSearchParams({
			tree: "true",
			limit: "200"
		});
		for (;;) {
			const path = `/api/agent/sessions/${encodeURIComponent(sessionId)}/messages?${query}`;
			const response = await this.service.request(path, { signal });
			if (response.status === 404) return [];
			if (!response.ok) throw await refusal(response);
			const page = parse(await response.text());
			messages.push(...page.messages);
			if (page.next_cursor === void 0) return messages;
			query.set("cursor", page.next_cursor);
		}
	}
	async latestRuns(sessionId, signal) {
		const path = `/api/agent/runs?${new URLSearchParams({
			session_id: sessionId,
			limit: "1"
		})}`;
		const response = await this.service.request(path, { signal });
		if (!response.ok) throw await refusal(response);
		const { runs = [] } = await response.json();
		return runs;
	}
};
/** The stored messages with those of the page that are kept: each behind the message that it follows on the page. */
function withKept(stored, shown, isKept) {
	const messages = [...stored];
	shown.forEach((message, place) => {
		if (!isKept(message)) return;
		const before = shown[place - 1];
		const found = messages.findLastIndex(({ run_id }) => run_id === before?.run_id);
		messages.splice(before && found < 0 ? messages.length : found + 1, 0, message);
	});
	return messages;
}
//#endregion
//#region src/stopping.ts
/** Stops runs. A run continues at the service until the service has confirmed that it is cancelled. */
var Stopping = class {
	/** The run that was stopped last, until that is confirmed. */
	run = null;
	service;
	view;
	follower;
	cancelling = null;
	quietTries = 0;
	endPause = () => {};
	constructor(service, view, follower) {
		this.service = service;
		this.view = view;
		this.follower = follower;
	}
	/**
	* Shows nothing more of a run, and cancels it: at once, if another try was about to follow. Resolves when the service has
	* confirmed it, or when the tries have ended.
	*/
	async stop(run) {
		const { follower } = this;
		if (this.cancelling?.run === run) return this.hurry(this.cancelling);
		run.isStopped = true;
		this.run = run;
		this.takeBack(run);
		this.show(run, null);
		if (follower.current === run) follower.release(run);
		follower.remember(run);
		if (!run.id) await run.reader?.answered();
		run.reader?.leave();
		this.takeBack(run);
		this.settle(run, await this.cancel(run));
	}
	/** Tries at once to cancel the run that was stopped last, also after the tries have ended. */
	wake() {
		const run = this.cancelling?.run ?? this.run;
		if (run) this.stop(run);
	}
	async hurry({ run, done }) {
		this.show(run, null);
		this.quietTries = 1;
		this.endPause();
		await done;
	}
	/**
	* Cancels a run, however long the service can't be reached. Resolves with the run's status at the service, or with the
	* refusal. Without an id, the question is asked again: only then it is known whether it has a run.
	*/
	async cancel(run) {
		if (!run.id && !run.isInDoubt) return {};
		const cancelling = {
			run,
			done: this.deliver(run)
		};
		this.cancelling = cancelling;
		const cancelled = await cancelling.done;
		if (this.cancelling === cancelling) this.cancelling = null;
		return cancelled;
	}
	async deliver(run) {
		const request = {
			method: "POST",
			keepalive: true
		};
		let cancelled = {};
		const send = async () => {
			const asked = run.id ? null : await this.askAgain(run);
			if (!run.id) return asked;
			const response = await this.service.request(`${run.path}/cancel`, request).catch(() => null);
			if (response?.ok) cancelled = await response.json().catch(() => ({}));
			return response;
		};
		this.quietTries = 4;
		const error = await deliver(this.service, send, {
			signal: new AbortController().signal,
			expose: (end) => this.endPause = end,
			onRetry: (failure) => this.countTry(run, failure)
		});
		const hasNoRun = !run.id && error?.code === "session_busy";
		return error && !hasNoRun ? { refusal: error } : cancelled;
	}
	countTry(run, failure) {
		this.quietTries -= 1;
		if (this.quietTries <= 0) this.show(run, notStopped(failure));
	}
	/** Shows that a run is being stopped, or why that is not confirmed. */
	show(run, error) {
		if (this.follower.latest === run) this.view.change((state) => unconfirmed(state, run, error));
	}
	/** Shows a question that got no response as cancelled, so that its text can be used again at once. */
	takeBack(run) {
		if (!run.id && run.isInDoubt) this.view.change((state) => withoutAnswer(state, run.key, "cancelled"));
	}
	/** Asks a question with the same key as before, and notes the id of its run. */
	async askAgain(run) {
		const response = await ask(this.service, run, { isPolled: true }).catch(() => null);
		if (!response?.ok) return response;
		const id = await startedIn(response);
		if (id) this.follower.learn(run, id);
		return response;
	}
	/** Shows the end of a run that was stopped, or why it was not. If it had ended by itself before, that is its own end. */
	settle(run, { status = "cancelled", refusal, error = refusal ?? null }) {
		const { follower, view } = this;
		if (refusal && refusal.code !== "run_not_found") return this.show(run, notStopped(refusal));
		follower.forget(run);
		if (this.run === run) this.run = null;
		const isShown = follower.latest === run;
		const hasEnded = status === "succeeded" || status === "failed";
		if (hasEnded && isShown && view.state.runId === run.id) return this.showEnd(run);
		view.change((state) => isShown ? {
			...stopped(state, run),
			status: "cancelled",
			error
		} : stopped(state, run));
		const answer = answerOf(view.state, run.id);
		if (answer && !hasEnded) follower.read.set(answer.run_id, answer);
		follower.listener.ended();
	}
	showEnd({ id, key, asked, route }) {
		const { follower, view } = this;
		const run = new FollowedRun({
			...id && { id },
			key,
			asked,
			route,
			isOurs: false,
			isStopped: true
		});
		const messages = view.state.messages.filter((message) => message !== answerOf(view.state, id));
		follower.follow(follower.begin(run, { messages }));
	}
};
/** Returns the error that a run could not be stopped, and what to do. */
function notStopped(error) {
	const message = error.code === "network" || isForeign(error) ? "The service can't be reached, so the run may still be going. Stop it again when the service is back." : `The run was not stopped: ${error.message} Stop it again.`;
	return {
		...error,
		code: "not_stopped",
		message
	};
}
/** The state in which a run is being stopped, or in which the error says that it was not. */
function unconfirmed(state, run, error) {
	const shown = {
		...state,
		status: error ? "failed" : "stopping",
		pending: [],
		budget: null,
		error
	};
	const answer = answerOf(state, run.id);
	if (!answer) return shown;
	const { error: _error, ...rest } = answer;
	return withAnswer(shown, error ? {
		...rest,
		status: "failed",
		error
	} : {
		...rest,
		status: "running"
	});
}
/** The state in which the question and the answer of a run are cancelled. */
function stopped(state, run) {
	if (run.id === null) return withoutAnswer(state, run.key, "cancelled");
	if (!state.messages.some(({ run_id }) => run_id === run.id)) return state;
	const { error: _error, ...answer } = answerOf(state, run.id) ?? emptyAnswer(run.id);
	return withAnswer(state, {
		...answer,
		status: "cancelled"
	});
}
//#endregion
//#region src/view.ts
/** The state and its listeners. It reports a change of status at once, and other changes at most every `renderMs`. */
var View = class {
	state = IDLE;
	shown = IDLE;
	shownAt = Number.NEGATIVE_INFINITY;
	timer;
	listeners = /* @__PURE__ */ new Set();
	renderMs;
	/** `renderMs` returns the shortest time between two changes that are shown. */
	constructor(renderMs) {
		this.renderMs = renderMs;
	}
	get = () => this.shown;
	subscribe = (listener) => {
		this.listeners.add(listener);
		return () => this.listeners.delete(listener);
	};
	change(change) {
		this.state = change(this.state);
		const early = this.shownAt + this.renderMs() - performance.now();
		if (early <= 0 || this.state.status !== this.shown.status) this.show();
		else this.timer ??= setTimeout(this.show, early);
	}
	show = () => {
		clearTimeout(this.timer);
		this.timer = void 0;
		this.shownAt = performance.now();
		this.shown = this.state;
		for (const listener of this.listeners) listener();
	};
};
//#endregion
//#region src/conversation.ts
/**
* A conversation with the agent, as a page shows it. Starts, follows and stops one run at a time. Use `get` and `subscribe`
* with any view library; `mount` connects it to the service.
*/
var Conversation = class {
	view;
	service;
	follower;
	session;
	answers;
	stopping;
	place = null;
	constructor(options = {}) {
		this.service = new Service(options);
		this.view = new View(() => this.service.options.renderMs ?? 50);
		const send = (run, callId, outcome) => this.send(run, callId, outcome);
		const clientCalls = new ClientCalls(this.service, send);
		this.follower = new Follower(this.service, this.view, clientCalls, {
			begins: () => this.session.stop(),
			started: (run) => this.started(run),
			released: (run) => this.answers.forget(run),
			ended: () => void this.session.load()
		});
		this.answers = new Answers(this.service, (run, error) => this.follower.update(run, (state) => ({
			...state,
			error
		})));
		this.session = new SessionLoader(this.service, this.view, this.follower);
		this.stopping = new Stopping(this.service, this.view, this.follower);
	}
	/** Returns the state. It is another object after each change, and an unchanged message stays the same object. */
	get = () => this.view.get();
	/** Calls `listener` after each change. Returns a function that stops this. */
	subscribe = (listener) => this.view.subscribe(listener);
	/** Replaces the options. After a change of `baseUrl`, `storageKey` or `sessionId`, mount the conversation again. */
	configure = (options) => {
		this.service.options = options;
	};
	/**
	* Follows the run that was under way when this page was left, or asks the question that had not arrived. The state is kept if the conversation is only mounted again,
	* as React does for <Activity> and in StrictMode. Returns a function that stops following.
	*/
	mount = () => {
		const { follower, session } = this;
		const { baseUrl, storageKey, sessionId } = this.service.options;
		const place = JSON.stringify([
			baseUrl,
			storageKey,
			sessionId
		]);
		if (this.place !== place) this.forget();
		this.place = place;
		const run = follower.current ?? follower.beginRemembered();
		if (run) this.resume(run);
		session.open();
		const stopSharing = this.service.slots.share(() => follower.current?.reader?.giveWay());
		const stopWaking = onWake(() => !follower.current && void session.load());
		const looking = setInterval(() => void session.look(), LOOK_MS);
		return () => {
			clearInterval(looking);
			stopWaking();
			stopSharing();
			session.close();
			follower.pause();
		};
	};
	/**
	* Asks the agent, and calls `onEvent` with each event, once and in order. A run under way is stopped first.
	*
	* Resolves with the data of `complete`, whatever its status. Resolves with null if the run was not read to its end,
	* because it was stopped, the page was left, or an error occurred here; see `status` and `error`. Rejects only
	* with an exception of `onEvent`. In a session, or with `storageKey`, the service finishes a run that has no reader
	* (`on_disconnect`).
	*/
	stream = (input, onEvent) => {
		this.stop();
		const { follower, session } = this;
		const { options } = this.service;
		const placed = {
			...session.place(),
			...requestOf(options, input, this.stopping.run !== null)
		};
		const { parent_run_id, parent_state, ...unplaced } = placed;
		const asked = parent_run_id !== void 0 && session.isMissing(parent_run_id) ? unplaced : placed;
		session.choose(null);
		const run = new FollowedRun({
			asked,
			route: routeOf(options, asked),
			isOurs: true,
			onEvent
		});
		const messages = withQuestion(follower.conversation(), questionOf(run), placed);
		return follower.follow(follower.begin(run, { messages }));
	};
	/**
	* Follows any run from its first event, and from now on makes its calls of `clientTools`, in place of a page that is gone.
	* A run that was followed until now continues by itself.
	*/
	attach = (runId, onEvent) => {
		const { follower } = this;
		this.session.choose(null);
		follower.leave();
		return follower.follow(follower.begin(new FollowedRun({
			id: runId.trim(),
			isOurs: true,
			takesOver: true,
			onEvent
		})));
	};
	/**
	* Tries at once, also after `failed`, to read the rest of the run, to send a question or an answer that has not arrived, to
	* cancel a run that was stopped, and to load a session that could not be loaded. Resolves with null if there is nothing to read.
	*/
	reconnect = async () => {
		const { follower } = this;
		this.session.wake();
		this.stopping.wake();
		this.answers.wake();
		follower.current?.reader?.wake();
		const run = follower.latest;
		if (follower.current || !run || run.isOver) return null;
		follower.current = run;
		const status = run.wasConnected ? "reconnecting" : "connecting";
		follower.update(run, (state) => ({
			...state,
			status,
			error: null
		}));
		return follower.follow(run);
	};
	/**
	* Tries again after a failure: cancels a run that was not stopped, reads the rest of a run that was not read to its end, or else
	* asks the last question again. Resolves like `stream`.
	*/
	retry = (onEvent) => {
		const { latest } = this.follower;
		if (this.view.state.error?.code === "not_stopped") return this.reconnect();
		return latest && !latest.isOver ? this.reconnect() : this.regenerate(onEvent);
	};
	/**
	* Asks the last question again, and in a session replaces its answer. The request is the same if this page made it.
	* Resolves like `stream`, and with null if there is no question.
	*/
	regenerate = async (onEvent) => {
		const question = this.view.state.messages.findLast(({ role }) => role === "user");
		if (!question?.content) return null;
		const { run_id, content: input } = question;
		const { latest } = this.follower;
		if (latest?.isUnsent) return this.reconnect();
		const asked = latest?.id === (run_id || null) ? latest.asked : null;
		const { sessionId } = this.service.options;
		const place = sessionId !== void 0 && !this.session.isMissing(run_id) ? {
			parent_run_id: run_id,
			parent_state: "before"
		} : {};
		return this.stream({
			...asked,
			input,
			...place
		}, onEvent);
	};
	/**
	* Cancels the run at the service and stops reading. The status is `stopping` until the service has confirmed it, and then
	* this resolves. While the service can't be reached, it is tried again, with `storageKey` also after a reload; after some
	* seconds, the status is `failed` with the error `not_stopped`, and `stop` may be called again. A run that had ended before is
	* shown to its own end.
	*/
	stop = async () => {
		const run = this.follower.current ?? this.stopping.run;
		if (run) await this.stopping.stop(run);
	};
	/**
	* Approves a call of `pending`. The run resumes when each call has its answer. Resolves with null if the service has
	* accepted the answer, and otherwise with the error, such as invalid arguments (`details`) or an answer from elsewhere
	* (`tool_call_answered`). With `storageKey`, an answer that has not arrived is sent again after a reload. The next four
	* functions do the same. None of them rejects.
	*/
	approve = async (callId, changes = {}) => {
		try {
			return await this.decide(callId, approval(changes));
		} catch (cause) {
			if (cause instanceof RunFailed) return cause.error;
			throw cause;
		}
	};
	/** Refuses a call of `pending`. The model receives the reason. */
	refuse = (callId, reason) => this.decide(callId, {
		approved: false,
		...reason && { reason }
	});
	/** Sets new totals of a budget that is spent, so that the run resumes. A total that is left out stays as it is. */
	raiseBudget = (totals) => this.decideBudget({
		approved: true,
		...totals
	});
	/** Ends the run, whose budget is spent. It then fails with `budget_exceeded`. */
	refuseBudget = () => this.decideBudget({ approved: false });
	/** Sends the result of a call of the kind `client` that `clientTools` doesn't handle. */
	sendToolResult = (callId, content, { isError = false } = {}) => {
		const results = [{
			tool_call_id: callId,
			content,
			is_error: isError
		}];
		return this.answers.sendKept(this.follower.current, "tool-results", { results });
	};
	/**
	* Shows the branch of the session with this run, such as one of a question's `branches`, or with null the latest branch.
	* The next question continues it.
	* A run of another branch that was followed until now continues by itself. Resolves once the branch is up to date.
	*/
	showBranch = (runId) => this.session.showBranch(runId);
	/** Follows a run, after it was cancelled if it has been stopped before. */
	async resume(run) {
		if (run.isStopped && !run.id) return this.stopping.stop(run);
		if (run.isStopped) await this.stopping.cancel(run);
		if (this.follower.current !== run) return;
		const following = this.follower.follow(run);
		this.answers.resend(run);
		await following;
	}
	/** A question that takes another one's place has versions, which the session knows. */
	started({ asked }) {
		if (asked?.parent_run_id !== void 0 || !this.view.state.history.isLoaded) this.session.load();
	}
	forget() {
		this.follower.forgetAll();
		this.session.forget();
	}
	decide(callId, decision) {
		return this.answers.sendKept(this.follower.current, `approvals/${encodeURIComponent(callId)}`, decision);
	}
	decideBudget(decision) {
		return this.answers.sendKept(this.follower.current, "budget", decision);
	}
	send(run, tool_call_id, outcome) {
		return this.answers.send(run, "tool-results", { results: [{
			tool_call_id,
			...outcome
		}] });
	}
};
//#endregion
//#region src/unsent.ts
/** Returns the question that has not arrived yet, or null. */
function unsentIn(messages) {
	return messages.find(isUnsent) ?? null;
}
function isUnsent({ role, run_id, status }) {
	return role === "user" && run_id === "" && status === "queued";
}
/** Whether a question that had not arrived is neither sent again nor in the conversation: it was refused or stopped. */
function isReturned(sent, messages) {
	if (sent === null) return false;
	const isSame = ({ message_id, content }) => message_id === sent.message_id || JSON.stringify(content) === JSON.stringify(sent.content);
	return !messages.some((message) => isSame(message) && (message.run_id !== "" || isUnsent(message)));
}
//#endregion
export { AgentStream, Conversation, IDLE, Run, RunFailed, callsIn, eventIn, eventsIn, explain, fold, isReturned, isUnfinished, isWaiting, latestAnswer, madeWith, partialJson, prettyJson, textOf, unsentIn };
