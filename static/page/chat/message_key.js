/** The key of a message, which stays the same when the service gives a question another id. */
export function keyOf({ run_id, role, message_id }) {
  return run_id === "" ? message_id : `${run_id} ${role}`;
}
