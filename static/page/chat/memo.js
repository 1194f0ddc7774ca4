/** Components that are drawn again only when something that they show has changed. */

import { Component, h } from "preact";

/** Returns the component, which keeps its drawing while each of its properties is the same. */
export function memo(View) {
  return class extends Component {
    shouldComponentUpdate(next) {
      const names = Object.keys({ ...this.props, ...next });
      return names.some((name) => next[name] !== this.props[name]);
    }

    render(props) {
      return h(View, props);
    }
  };
}
