// Sessions over HTTP: the user's owner core answers from its memory.

import API
import Bytes
import ChatModel
import Ingest
import Wire

extension Shard {
    func session(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ match: RouteMatch,
        _ principal: Principal, _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .sessionRead)
        let path = bytes.part(assembler.head.path)
        guard let id = Identifier(path.part(match.variable), kind: .session) else {
            throw Problem(.notFound, "There is no such session.")
        }
        expect(origin.token, origin.ordinal, context)
        if assembler.head.method == .delete {
            ask(.endSession(origin, principal, id), shardKey: id.shardKey)
        } else {
            ask(.session(origin, principal, id), shardKey: id.shardKey)
        }
    }

    /// Without `user_id` the caller's own.
    func listSessions(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ principal: Principal, _ origin: Origin,
        _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .sessionRead)
        let query = try PageQuery(bytes, assembler.head.query, scratch: scratch)
        let userID = query.userID ?? principal.subject
        guard principal.may(.anyUser) || userID.equals(principal.subject) else {
            throw Problem(.forbidden, "This token may only list its own sessions.")
        }
        let name = directory[principal.tenant].name
        let key = UserKey(tenant: principal.tenant, userID: userID)
        expect(origin.token, origin.ordinal, context)
        ask(
            .sessions(origin, key),
            shardKey: UserKey.shardKey(tenant: name, user: userID))
    }

    /// The user's session was ended.
    func dismiss(_ user: UserKey) {
        for token in sockets.sockets(of: user) {
            guard let session = connections[token.slot].session else { continue }
            closeSocket(token, session, 4401, "The session was ended.")
        }
    }
}
