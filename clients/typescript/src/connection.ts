import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import * as net from "node:net";
import * as tls from "node:tls";
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";

import { Code, ConnectError, createClient, type Client as Stub, type CallOptions } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import type { ConnectionOptions } from "./options.js";
import { BrokerService } from "./gen/authmaterial/v1/broker_service_pb.js";

export type Broker = Stub<typeof BrokerService>;

const connectTimeout = 5_000;
const maxTokenFile = 64 << 10;
const maxToken = 8 << 10;

/** The connection to a broker, which is opened by the first call and again when it has ended. */
export class Connection {
  /** The address as the program wrote it. */
  readonly address: string;
  readonly #address: Address;
  readonly #options: ConnectionOptions;
  readonly #sessions: Http2SessionManager;
  readonly #broker: Broker;

  /** Reads the certificate files once, to check them. */
  constructor(address: string, options: ConnectionOptions) {
    this.address = address;
    this.#address = parseAddress(address);
    this.#options = options;
    if (options.tokenFile !== undefined && this.#address.kind === "plaintext") {
      throw new TypeError("tokenFile: a token is not sent over http://; use https:// or unix://");
    }
    if (this.#address.kind === "tls") {
      tls.createSecureContext(this.#readFiles());
    } else if (options.caFile ?? options.certificateFile ?? options.keyFile ?? options.serverName) {
      throw new TypeError("caFile, certificateFile, keyFile and serverName need an address with https://");
    }
    const baseUrl = this.#address.url;
    this.#sessions = new QuietSessionManager(
      baseUrl,
      { pingIntervalMs: 30_000, pingTimeoutMs: 5_000 },
      { createConnection: () => this.#connect() },
    );
    const transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#sessions,
      acceptCompression: [],
      readMaxBytes: 4 << 20,
    });
    this.#broker = createClient(BrokerService, transport);
  }

  /** Makes a call with the current token. */
  async unary<T>(make: (broker: Broker, options: CallOptions) => Promise<T>, timeoutMs: number, signal: AbortSignal) {
    const headers = await this.#metadata();
    return make(this.#broker, { headers, timeoutMs, signal });
  }

  async *watch(credentialIds: string[], signal: AbortSignal) {
    const headers = await this.#metadata();
    yield* this.#broker.watchAuthDecorations({ credentialIds }, { headers, signal });
  }

  close(): void {
    this.#sessions.abort();
  }

  /** Opens a connection with the current certificate files. */
  #connect(): net.Socket {
    const address = this.#address;
    let socket: net.Socket;
    if (address.kind === "tls") {
      const name = this.#options.serverName ?? address.host;
      socket = tls.connect({
        ...this.#readFiles(),
        host: address.host,
        port: address.port,
        servername: net.isIP(name) ? "" : name,
        checkServerIdentity: (_, certificate) => tls.checkServerIdentity(name, certificate),
        ALPNProtocols: ["h2"],
      });
    } else {
      socket = net.connect(
        address.kind === "unix" ? { path: address.path } : { host: address.host, port: address.port },
      );
    }
    socket.unref();
    const timer = setTimeout(() => {
      const error = new Error(
        `the broker at ${address.url} did not accept a connection within ${connectTimeout / 1000} s`,
      );
      socket.destroy(error);
    }, connectTimeout).unref();
    const stop = () => {
      clearTimeout(timer);
    };
    return socket.once(address.kind === "tls" ? "secureConnect" : "connect", stop).once("close", stop);
  }

  #readFiles(): { ca?: string; cert?: string; key?: string } {
    const { caFile, certificateFile, keyFile } = this.#options;
    if ((certificateFile === undefined) !== (keyFile === undefined)) {
      throw new TypeError("set both certificateFile and keyFile, or neither");
    }
    const read = (path: string) => readFileSync(path, "utf8");
    return {
      ...(caFile !== undefined && { ca: read(caFile) }),
      ...(certificateFile !== undefined && { cert: read(certificateFile) }),
      ...(keyFile !== undefined && { key: read(keyFile) }),
    };
  }

  async #metadata(): Promise<Record<string, string>> {
    const { tokenFile } = this.#options;
    if (tokenFile === undefined) {
      return {};
    }
    try {
      return { authorization: `Bearer ${await readToken(tokenFile)}` };
    } catch (error) {
      const why = error instanceof Error ? error.message : "";
      throw new ConnectError(`read the token for the broker: ${why}`, Code.Unauthenticated);
    }
  }
}

/** The errors of readToken do not contain the token. */
async function readToken(path: string): Promise<string> {
  const text = await readFile(path, "utf8");
  const token = text.length <= maxTokenFile ? text.trim() : text;
  if (token === "") {
    throw new Error(`${path} is empty`);
  }
  if (token.length > maxToken) {
    throw new Error(`${path} is longer than ${maxToken} bytes, the limit for a token`);
  }
  if (!/^[A-Za-z0-9\-._~+/=]*$/.test(token)) {
    throw new Error(`${path} contains characters that are not allowed in a token`);
  }
  return token;
}

type Address =
  { kind: "tls" | "plaintext"; url: string; host: string; port: number } | { kind: "unix"; url: string; path: string };

function parseAddress(address: string): Address {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol === "unix:" && url.host === "" && url.pathname.length > 1) {
    return { kind: "unix", url: "http://localhost", path: decodeURIComponent(url.pathname) };
  }
  if (!url || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.search || url.username || url.password) {
    throw new TypeError(
      "the broker's address must be https://HOST:PORT, unix:///PATH or, without TLS, http://HOST:PORT",
    );
  }
  const secure = url.protocol === "https:";
  return {
    kind: secure ? "tls" : "plaintext",
    url: url.origin,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port || (secure ? 443 : 80)),
  };
}

/** A session manager whose open streams do not keep the process alive, and whose sessions do not end it. */
class QuietSessionManager extends Http2SessionManager {
  readonly #sessions = new WeakSet<ClientHttp2Session>();

  override async request(...call: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...call);
    const session = stream.session as ClientHttp2Session | undefined;
    session?.unref();
    if (session && !this.#sessions.has(session)) {
      this.#sessions.add(session);
      // The manager may let go of a session that has failed before the session emits its error.
      session.on("error", () => undefined);
    }
    return stream;
  }
}
