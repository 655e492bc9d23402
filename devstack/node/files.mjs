// Stores the objects of Supabase Storage as files: <root>/<hash of the bucket>/<hash of the key>, with the upload's
// metadata in a .json file beside it. Hashed, so that no key can leave the folder, be too long, or clash with a folder.
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { copyFile, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";

const hash = (text) => createHash("sha256").update(text).digest("hex");

export class FileStorage {
  driver = null;

  constructor(root) {
    this.root = root;
    this.incoming = path.join(root, ".incoming");
  }

  async prepare() {
    await rm(this.incoming, { recursive: true, force: true });
    await mkdir(this.incoming, { recursive: true });
  }

  async uploadObject(bucket, key, _version, body, contentType, cacheControl) {
    const temporary = path.join(this.incoming, randomUUID());
    try {
      const { size, eTag } = await writeAndHash(temporary, body);
      await this.#put(bucket, key, temporary, { mimetype: contentType, cacheControl, eTag });
      return { cacheControl, contentLength: size, size, mimetype: contentType, lastModified: new Date(), eTag };
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async getObject(bucket, key, _version, headers = {}) {
    const metadata = await this.headObject(bucket, key);
    if (isUnchanged(metadata, headers)) return { httpStatusCode: 304, metadata };
    const range = parseRange(headers.range, metadata.size);
    const body = Readable.toWeb(createReadStream(this.#file(bucket, key), range ?? {}));
    if (!range) return { httpStatusCode: 200, metadata, body };
    const contentLength = range.end - range.start + 1;
    const contentRange = `bytes ${range.start}-${range.end}/${metadata.size}`;
    return { httpStatusCode: 206, metadata: { ...metadata, contentLength, contentRange }, body };
  }

  async headObject(bucket, key) {
    const file = this.#file(bucket, key);
    const [{ size, mtime }, text] = await Promise.all([stat(file), readFile(`${file}.json`, "utf8")]);
    return { ...JSON.parse(text), size, contentLength: size, lastModified: mtime };
  }

  async copyObject(sourceBucket, source, _version, bucket, key) {
    const temporary = path.join(this.incoming, randomUUID());
    const from = this.#file(sourceBucket, source);
    const metadata = JSON.parse(await readFile(`${from}.json`, "utf8"));
    await copyFile(from, temporary);
    await this.#put(bucket, key, temporary, metadata);
    return { httpStatusCode: 200, eTag: metadata.eTag, lastModified: new Date() };
  }

  async deleteObject(bucket, key) {
    const file = this.#file(bucket, key);
    await Promise.all([rm(file, { force: true }), rm(`${file}.json`, { force: true })]);
  }

  async deleteObjects(bucket, keys) {
    await Promise.all(keys.map((key) => this.deleteObject(bucket, key)));
  }

  async privateAssetUrl(bucket, key) {
    return `file://${this.#file(bucket, key)}`;
  }

  async #put(bucket, key, temporary, metadata) {
    const file = this.#file(bucket, key);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(`${temporary}.json`, JSON.stringify(metadata));
    await rename(`${temporary}.json`, `${file}.json`);
    await rename(temporary, file);
  }

  #file(bucket, key) {
    return path.join(this.root, hash(bucket).slice(0, 16), hash(key));
  }
}

async function writeAndHash(file, body) {
  const md5 = createHash("md5");
  let size = 0;
  const count = new Transform({
    transform(chunk, _encoding, done) {
      md5.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  const source = body instanceof Uint8Array ? Readable.from([body]) : Readable.fromWeb(body);
  await pipeline(source, count, createWriteStream(file));
  return { size, eTag: `"${md5.digest("hex")}"` };
}

function isUnchanged(metadata, { ifNoneMatch, ifModifiedSince }) {
  if (ifNoneMatch) return ifNoneMatch === metadata.eTag;
  return Boolean(ifModifiedSince) && metadata.lastModified <= new Date(ifModifiedSince);
}

function parseRange(header, size) {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? "");
  if (!match || Number(match[1]) >= size) return null;
  return { start: Number(match[1]), end: Math.min(match[2] ? Number(match[2]) : size - 1, size - 1) };
}
