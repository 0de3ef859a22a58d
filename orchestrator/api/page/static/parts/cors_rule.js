// The rule that the bucket needs before a browser lets this page read from it.

import { html } from "../vendor/preact.js";
import { command } from "../lib/text.js";
import { Command } from "./command.js";

/** That of deploy/bucket/cors.json, for this page's origin. */
export const corsRule = (origin) => ({
  CORSRules: [
    {
      ID: "tarpon-page",
      AllowedOrigins: [origin],
      AllowedMethods: ["GET", "HEAD"],
      AllowedHeaders: ["range", "if-match"],
      ExposeHeaders: ["ETag", "Content-Range", "Content-Length", "Accept-Ranges"],
      MaxAgeSeconds: 3600,
    },
  ],
});

export function CorsRule({ bucket, endpoint }) {
  const words = ["aws", "s3api", "put-bucket-cors", "--bucket", bucket, "--cors-configuration", "file://cors.json"];
  if (endpoint) words.push("--endpoint-url", endpoint);
  return html`<p>Its rules for web pages (CORS) have to name <code>${location.origin}</code>. Who may change the bucket saves this as
    <code>cors.json</code>, beside the rules that it has already, and sets it:</p>
    <${Command} text=${JSON.stringify(corsRule(location.origin), null, 2)} label="The rule" />
    <${Command} text=${command(...words)} label="The command that sets it" />
    <p class="soft">MinIO has no rules: there the server is started with <code>MINIO_API_CORS_ALLOW_ORIGIN=${location.origin}</code>.</p>`;
}
