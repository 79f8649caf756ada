import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const OUT = "dist"; // tools/page.py puts it into the package.
const WORTH_IT = 512;

/** Beside each file one in gzip and one in Brotli, where that makes it smaller: the server compresses nothing. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      for (const entry of readdirSync(OUT, { withFileTypes: true, recursive: true })) {
        if (!entry.isFile() || !/\.(html|js|css|svg)$/.test(entry.name)) continue;
        const path = join(entry.parentPath ?? entry.path, entry.name);
        const raw = readFileSync(path);
        if (raw.length < WORTH_IT) continue;
        writeFileSync(`${path}.gz`, gzipSync(raw, { level: 9 }));
        const quality = { [constants.BROTLI_PARAM_QUALITY]: 11 };
        writeFileSync(`${path}.br`, brotliCompressSync(raw, { params: quality }));
      }
    },
  };
}

/** The licences of what is bundled, which have to go where the bundle goes. */
function licences(): Plugin {
  const bundled = ["preact", "@preact/signals", "@preact/signals-core", "uplot"];
  return {
    name: "licences",
    apply: "build",
    closeBundle() {
      const texts = bundled.map((name) => {
        const text = readFileSync(join("node_modules", name, "LICENSE"), "utf8");
        return `${name}\n\n${text.trim()}\n`;
      });
      writeFileSync(join(OUT, "third-party.txt"), texts.join("\n---\n\n"));
    },
  };
}

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  plugins: [compressed(), licences()],
  build: {
    outDir: OUT,
    target: "es2022",
    assetsInlineLimit: 0, // A `data:` address is something inline, which the page's policy forbids.
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
