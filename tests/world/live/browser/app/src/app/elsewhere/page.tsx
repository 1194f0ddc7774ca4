"use client";

import Link from "next/link";
import { useSearchParams } from "next/navigation";
import { Suspense } from "react";

function Return() {
  return <Link href={useSearchParams().get("back") ?? "/"}>Return</Link>;
}

export default function Elsewhere() {
  return (
    <main>
      <h1>Elsewhere</h1>
      <Suspense>
        <Return />
      </Suspense>
    </main>
  );
}
