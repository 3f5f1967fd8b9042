import type { createTracing, Tracing } from "./tracing.ts";

/** Tracing where a collector is named, else nothing: OpenTelemetry is not even loaded then. */
export async function openTracing({
  otlpUrl,
  ...options
}: Omit<Parameters<typeof createTracing>[0], "otlpUrl"> & {
  readonly otlpUrl?: string | undefined;
}): Promise<Tracing | undefined> {
  if (otlpUrl === undefined) return undefined;
  const { createTracing } = await import("./tracing.ts");
  return createTracing({ otlpUrl, ...options });
}
