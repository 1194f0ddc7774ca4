/** Tools that run in this page, by name. The model's calls of them reach the page through the run. */

const LOCATION_TIMEOUT_MS = 60_000;
/** The reasons why there is no location, by the browser's code. */
const NO_LOCATION = {
  1: "The user didn't allow this page to read the location.",
  2: "The browser couldn't find the location.",
  3: "The browser found no location within a minute.",
};

export const pageTools = {
  get_location: {
    description: "Returns the user's latitude and longitude, with the accuracy in meters. The browser asks first.",
    parameters: { type: "object", properties: {}, additionalProperties: false },
    run: location,
  },
  page_title: {
    description: "Returns the title of the page that the user is looking at, and changes it if a new one is given.",
    parameters: {
      type: "object",
      properties: { title: { type: "string", description: "The new title." } },
      additionalProperties: false,
    },
    run: title,
  },
};

/**
 * The fields of a request for the chosen tools: names of the service's tools, and the definitions of this page's. Null
 * means the service's own default.
 */
export function requestedTools(names) {
  const chosen = Object.keys(pageTools).filter((name) => names?.includes(name));
  const client_tools = chosen.map((name) => {
    const { description, parameters } = pageTools[name];
    return { name, description, parameters };
  });
  return { client_tools, ...(names && { tools: names.filter((name) => !chosen.includes(name)) }) };
}

async function location() {
  if (!navigator.geolocation) throw new Error("This browser has no location.");
  const asked = new Promise((resolve, reject) => {
    navigator.geolocation.getCurrentPosition(resolve, reject, { timeout: LOCATION_TIMEOUT_MS });
  });
  const { coords } = await asked.catch(({ code, message }) => {
    throw new Error(NO_LOCATION[code] ?? message);
  });
  const { latitude, longitude, accuracy } = coords;
  return { latitude, longitude, accuracy_m: accuracy };
}

function title({ title: changed }) {
  if (changed !== undefined) document.title = String(changed);
  return { title: document.title };
}
