import * as http2 from "node:http2";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import { AuthDecorationSchema, type AuthDecoration } from "../src/gen/authmaterial/v1/auth_decoration_pb.js";
import { BrokerService, ReportRejectionResponse_Outcome } from "../src/gen/authmaterial/v1/broker_service_pb.js";

/** Fields of a decoration. */
type Init = Exclude<MessageInitShape<typeof AuthDecorationSchema>, AuthDecoration>;

/** A broker that serves the same decoration for every credential. */
export class FakeBroker {
  decoration: AuthDecoration;
  calls = 0;
  /** The header `authorization` of the last call of GetAuthDecoration. */
  authorization: string | null = null;
  /** Calls wait for this promise, or until the broker stops: an open call would keep the process alive. */
  wait: Promise<void> = Promise.resolve();
  readonly #stopped: Promise<void>;
  #stop = (): void => undefined;
  /** Is resolved when a rejection is reported. */
  readonly reported: Promise<void>;
  #report = (): void => undefined;
  readonly #init: Init;
  #successor: AuthDecoration | undefined;
  readonly #server: http2.Http2Server;
  readonly #sessions = new Set<http2.ServerHttp2Session>();

  private constructor(decoration: Init) {
    this.reported = new Promise((resolve) => (this.#report = resolve));
    this.#stopped = new Promise((resolve) => (this.#stop = resolve));
    this.#init = { version: "v1", ...decoration };
    this.decoration = create(AuthDecorationSchema, this.#init);
    this.#server = http2.createServer(connectNodeAdapter({ routes: this.#routes }));
    this.#server.on("session", (session) => this.#sessions.add(session));
  }

  static async start(decoration: Init, socket?: string): Promise<FakeBroker> {
    const broker = new FakeBroker(decoration);
    await new Promise<void>((resolve) => broker.#server.listen(socket ?? { host: "127.0.0.1", port: 0 }, resolve));
    return broker;
  }

  /** Serves a decoration with these fields from now on. */
  serve(changed: Init): void {
    this.decoration = create(AuthDecorationSchema, { ...this.#init, ...changed });
  }

  /** A report of a rejection replaces the decoration by one with these fields. */
  replaceBy(changed: Init): void {
    this.#successor = create(AuthDecorationSchema, { ...this.#init, version: "v2", ...changed });
  }

  get address(): string {
    const address = this.#server.address()!;
    return typeof address === "string" ? `unix://${address}` : `http://127.0.0.1:${address.port}`;
  }

  #routes = (router: ConnectRouter) => {
    const current = () => this.decoration;
    router.service(BrokerService, {
      getAuthDecoration: async (_, { requestHeader }) => {
        this.calls++;
        this.authorization = requestHeader.get("authorization");
        await Promise.race([this.wait, this.#stopped]);
        return { authDecoration: this.decoration };
      },
      reportRejection: async () => {
        this.calls++;
        this.#report();
        await Promise.race([this.wait, this.#stopped]);
        this.decoration = this.#successor ?? this.decoration;
        const { REPLACED, NOT_REPLACEABLE } = ReportRejectionResponse_Outcome;
        return { authDecoration: this.decoration, outcome: this.#successor ? REPLACED : NOT_REPLACEABLE };
      },
      reportUsage: () => ({}),
      async *watchAuthDecorations({ credentialIds }, { signal }) {
        for (const credentialId of credentialIds) {
          yield { credentialId, state: { case: "authDecoration" as const, value: current() } };
        }
        await new Promise((resolve) => {
          signal.addEventListener("abort", resolve);
        });
        throw new ConnectError("the stream ends", Code.Unavailable);
      },
    });
  };

  async stop(): Promise<void> {
    this.#stop();
    for (const session of this.#sessions) {
      session.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
