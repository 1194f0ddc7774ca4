import { Agent } from "@/components/Agent";

/** The session's id is in the URL, /agent?session=…, so that the server can render the page of that session. */
export const dynamic = "force-dynamic";

export default function Page() {
  return <Agent />;
}
