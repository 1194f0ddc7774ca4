/** Faults of the page's own connection, to see what they do. */

/** Fetches as the browser does, with the faults that the user has switched on. */
export const faultyFetch = (input, init) => fetch(input, init);
