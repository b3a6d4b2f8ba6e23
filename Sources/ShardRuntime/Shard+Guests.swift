// POST /api/v2/auth/guest: a token for somebody who has none.
//
// A guest may ask for a user id of his own. Nobody gets another's conversations that way: an id
// that has conversations is given only to who sends its last guest token (which may have expired)
// as the credential.

import API
import Bytes
import CLinux
import ChatModel
import Identity
import Ingest
import Reactor
import Stores
import Wire

extension Shard {
    static let guestLimit = RateLimit(perMinute: 60, burst: 60)
    static let guestTokenSeconds: UInt64 = 86_400

    func handleGuest(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody,
        _ context: RequestContext
    ) {
        let ordinal = takeOrdinal(token)
        var context = context
        do throws(Problem) {
            try limitAddress(token)
            try requireJSON(assembler, bytes)
            let decoded = assembler.body
            let isJSON: Bool
            switch body {
            case .inPlace(let range): isJSON = parser.parse(bytes.part(range))
            case .decoded: isJSON = parser.parse(decoded.bytes)
            }
            guard isJSON else {
                throw Problem(.malformedJSON, "The body is not valid JSON in UTF-8.")
            }
            let request = try readGuest()
            // What another tenant lists does not count here.
            if let origin = context.allowedOrigin,
                !request.tenant.allows(origin: origin.bytes.string())
            {
                context.allowedOrigin = nil
            }
            guard request.tenant.allowsGuests else {
                throw Problem(.forbidden, "This tenant does not take guests.")
            }
            guard let userID = request.userID else {
                scratch.removeAll()
                scratch.append("guest_")
                for byte in service.entropy.bytes(16) {
                    scratch.append(hex: UInt64(byte), digits: 2)
                }
                return respondGuest(token, ordinal, context, request.tenant, scratch.block())
            }
            if provesOwnership(assembler, bytes, request.tenant, userID) {
                return respondGuest(token, ordinal, context, request.tenant, userID)
            }
            context.tenant = request.tenant.index
            expect(token, ordinal, context)
            let origin = Origin(core: UInt8(index), isSocket: false, token: token, ordinal: ordinal)
            store.read(.claim(origin, UserKey(tenant: request.tenant.index, userID: userID)))
        } catch {
            respond(token, ordinal, context, error)
        }
    }

    private func limitAddress(_ token: Token) throws(Problem) {
        var address = InlineArray<16, UInt8>(repeating: 0)
        let descriptor = connections[token.slot].descriptor
        scratch.removeAll()
        PeerAddress.read(descriptor, into: &address)
        for index in 0..<16 { scratch.append(address[index]) }
        let scratch = scratch
        let decision = service.limiter.admit(
            scratch.bytes, scope: .max, Self.guestLimit, now: clock.nanoseconds)
        guard decision.isAllowed else {
            metrics.countLimited(TenantIndex(UInt16(ShardMetrics.tenantsMax)), .address)
            throw Problem(
                .rateLimited, "Too many guests from this address.",
                retryAfterSeconds: decision.retryAfterSeconds)
        }
    }

    private func readGuest() throws(Problem) -> (tenant: Tenant, userID: ByteBlock?) {
        let parser = parser
        guard parser.kind(JSONParser.root) == .object else {
            throw .invalid("", "type", "The body must be an object.")
        }
        guard let node = parser.field(JSONParser.root, "tenant_id"), parser.kind(node) == .string
        else {
            throw .invalid("/tenant_id", "required", "tenant_id must be a string.")
        }
        guard let tenant = directory.find(parser.string(node)) else {
            throw Problem(.forbidden, "This tenant does not take guests.")
        }
        guard let userNode = parser.field(JSONParser.root, "user_id"),
            parser.kind(userNode) != .null
        else {
            return (tenant, nil)
        }
        guard parser.kind(userNode) == .string,
            MessageRequestReader.isName(parser.string(userNode), Limits.userIDBytesMax)
        else {
            throw .invalid(
                "/user_id", "format",
                "user_id must be a string of 1 to \(Limits.userIDBytesMax) bytes.")
        }
        return (tenant, ByteBlock(copying: parser.string(userNode)))
    }

    /// True when the request carries a token of that user; it may have expired up to thirty days
    /// ago.
    private func provesOwnership(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ tenant: Tenant, _ userID: ByteBlock
    ) -> Bool {
        guard let range = assembler.head.value(.authorization) else { return false }
        let value = bytes.part(range)
        guard value.byteCount > 7, value.extracting(0..<7).equalsIgnoringCase("bearer ") else {
            return false
        }
        let then = clock.milliseconds / 1000 - 30 * 86_400
        guard
            let principal = try? verifier.verifyUncached(
                value.extracting(7..<value.byteCount), nowSeconds: then)
        else { return false }
        return principal.tenant == tenant.index && principal.subject.equals(userID)
    }

    /// The store has said whether the user id is free.
    func finishGuest(_ token: Token, _ exchange: Exchange, _ place: Int, _ answer: Answer) {
        let context = exchange.pending[place].head
        finish(token, exchange, place)
        switch answer.result {
        case .failure(let problem): respond(token, answer.origin.ordinal, context, problem)
        case .success(_, let userID, _, _):
            guard let tenant = context.tenant else {
                preconditionFailure("a claim names its tenant")
            }
            respondGuest(
                token, answer.origin.ordinal, context, directory[tenant],
                ByteBlock(copying: userID.bytes))
        }
    }

    private func respondGuest(
        _ token: Token, _ ordinal: UInt32, _ context: RequestContext, _ tenant: Tenant,
        _ userID: ByteBlock
    ) {
        let now = clock.milliseconds / 1000
        let expires = now + Self.guestTokenSeconds
        let made = issuer.issue(
            tenant: tenant.nameText, subject: userID.bytes.string(), roles: [.endUser],
            issuedAtSeconds: now,
            expiresAtSeconds: expires)
        scratch.removeAll()
        scratch.append("{\"token\":")
        scratch.append(json: made)
        scratch.append(",\"user_id\":")
        scratch.append(json: userID)
        scratch.append(",\"expires_at\":\"")
        scratch.append(timestamp: expires * 1000)
        scratch.append("\"}")
        respond(token, ordinal, context, 200, MediaType.json, scratch)
    }
}
