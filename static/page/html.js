/** The template tag of all components: preact's elements, written as HTML. */

import htm from "htm";
import { h } from "preact";

export const html = htm.bind(h);
