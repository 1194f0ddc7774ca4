/** Tools that run in this page, by name. */

export const pageTools = {};
