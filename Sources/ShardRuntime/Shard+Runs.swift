// Runs over HTTP: `POST /api/v2/chat/runs/{id}/cancel`, the same as a socket's `cancel` frame.

import Bytes
import ChatModel
import Ingest
import Wire

extension Shard {
    func cancelRun(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ match: RouteMatch,
        _ principal: Principal, _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        // What a socket needs to connect.
        try require(principal, .conversationRead)
        let path = bytes.part(assembler.head.path)
        guard let run = Identifier(path.part(match.variable), kind: .run) else {
            throw Problem(.notFound, "There is no such run; it may have ended.")
        }
        expect(origin.token, origin.ordinal, context)
        ask(.cancel(origin, frameID: nil, principal, run: run), shardKey: run.shardKey)
    }
}
