// One request, whole: found, admitted, answered or handed on.

import API
import Bytes
import ChatModel
import Identity
import Ingest
import Reactor
import Stores
import Wire

/// What became of a credential.
enum Admission {
    case principal(Principal)
    case refused(Problem)
    /// An API key is being looked up: the request is read again when that is done.
    case waits
}

extension Shard {
    /// False when the request must be read again later.
    func handle(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody
    ) -> Bool {
        let path = bytes.part(assembler.head.path)
        var match = Router.match(path)
        if match.route.isBench, !configuration.benchRoutes { match = .none }
        var context = context(assembler, bytes, match.route)
        if let origin = assembler.head.value(.origin) {
            context.allowedOrigin = allowedOrigin(bytes.part(origin))
        }
        let route = match.route
        if route == .unknown || route.hasVariable {
            context.instance = ByteBlock(copying: path)
        }
        if assembler.head.method == .options {
            respondToOptions(token, context, isKnown: route != .unknown || path.equals("*"))
            return true
        }
        guard route != .unknown else {
            respond(
                token, takeOrdinal(token), context, Problem(.notFound, "There is no such route."))
            return true
        }
        guard route.accepts(assembler.head.method) else {
            respond(
                token, takeOrdinal(token), context,
                Problem(
                    .methodNotAllowed, "This route does not take \(assembler.head.method.name)."))
            return true
        }
        switch route {
        case .events where connections[token.slot].requestsInFlight > 0,
            .conversation
        where connections[token.slot].requestsInFlight > 0 && assembler.head.value(.prefer) != nil:
            // A stream ends its connection, and who waits keeps it: what was asked before is
            // answered first.
            hold(token, .work)
            return false
        case .message, .conversations, .conversation, .messages, .entry, .reactions, .events, .read,
            .typing, .cancel, .session, .sessions:
            return handleAPI(token, assembler, bytes, body, match, context)
        case .guest: handleGuest(token, assembler, bytes, body, context)
        case .socket: return handleUpgrade(token, assembler, bytes, context)
        case .benchSink:
            respondSink(token, takeOrdinal(token), context, UInt64(body.count(assembler)))
        case .benchEcho: upgrade(token, assembler, bytes, context, .echo, nil)
        case .benchBroadcast: upgrade(token, assembler, bytes, context, .broadcast, nil)
        default: handleOperations(token, assembler, bytes, context)
        }
        return true
    }

    // MARK: CORS

    /// The origin's own text if some tenant lists it, or any.
    private func allowedOrigin(_ origin: RawSpan) -> ByteBlock? {
        let text = origin.string()
        let isListed = directory.tenants.contains { $0.allows(origin: text) }
        return isListed ? ByteBlock(copying: origin) : nil
    }

    private func respondToOptions(_ token: Token, _ context: RequestContext, isKnown: Bool) {
        guard isKnown else {
            return respond(
                token, takeOrdinal(token), context, Problem(.notFound, "There is no such route."))
        }
        var head = head(context, 204, MediaType.text)
        head.allow = context.route == .unknown ? "GET, HEAD, POST, OPTIONS" : context.route.allows
        head.isPreflight = true
        respond(token, takeOrdinal(token), context, head, Self.noBody)
    }

    // MARK: Credentials

    func admit(_ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan) -> Admission {
        if let range = assembler.head.value(.authorization) {
            let value = bytes.part(range)
            guard value.byteCount > 7, value.extracting(0..<7).equalsIgnoringCase("bearer ") else {
                return .refused(refusal(token, .malformed))
            }
            do throws(CredentialFault) {
                let credential = value.extracting(7..<value.byteCount).trimmed()
                return .principal(
                    try verifier.verify(credential, nowSeconds: clock.milliseconds / 1000))
            } catch {
                return .refused(refusal(token, error))
            }
        }
        guard let range = assembler.head.value(.xAPIKey) else {
            return .refused(refusal(token, .missing))
        }
        switch apiKeys.verify(bytes.part(range), nowNanoseconds: clock.nanoseconds) {
        case .known(let principal) where principal.expiresAtSeconds > clock.milliseconds / 1000:
            return .principal(principal)
        case .known, .refused: return .refused(refusal(token, .apiKey))
        case .unknown(let id):
            if let problem = refusalBeforeLookUp(token) { return .refused(problem) }
            if keyWaiters[id] == nil { store.read(.apiKey(id: id)) }
            keyWaiters[id, default: []].append(token)
            hold(token, .apiKey)
            return .waits
        }
    }

    /// Counts the request against the tenant's and the user's limit.
    func limit(_ principal: Principal) -> (headers: RateHeaders, problem: Problem?) {
        let tenant = directory[principal.tenant]
        let now = clock.nanoseconds
        let byTenant = service.limiter.admit(
            tenant: tenant.index, RateLimit(perMinute: tenant.ratePerMinute, burst: tenant.burst),
            now: now)
        let user = principal.subject
        let byUser = service.limiter.admit(
            user.bytes, scope: UInt64(tenant.index.value),
            RateLimit(perMinute: tenant.userRatePerMinute, burst: tenant.userBurst), now: now)
        let headers = RateHeaders(
            tenantQuota: tenant.ratePerMinute, tenantRemaining: byTenant.remaining,
            tenantReset: byTenant.resetSeconds,
            userQuota: tenant.userRatePerMinute, userRemaining: byUser.remaining,
            userReset: byUser.resetSeconds)
        guard !byTenant.isAllowed || !byUser.isAllowed else { return (headers, nil) }
        metrics.countLimited(tenant.index, byTenant.isAllowed ? .user : .tenant)
        let wait = max(byTenant.retryAfterSeconds, byUser.retryAfterSeconds)
        let whose = byTenant.isAllowed ? "user" : "tenant"
        return (
            headers,
            Problem(
                .rateLimited, "The \(whose) has sent too many requests.", retryAfterSeconds: wait)
        )
    }

    // MARK: /api/v2

    private func handleAPI(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody,
        _ match: RouteMatch,
        _ context: RequestContext
    ) -> Bool {
        let principal: Principal
        switch admit(token, assembler, bytes) {
        case .waits: return false
        case .refused(let problem):
            let context = problem.code == .rateLimited ? context.last : context
            respond(token, takeOrdinal(token), context, problem)
            return true
        case .principal(let found): principal = found
        }
        var context = context
        context.tenant = principal.tenant
        let limited = limit(principal)
        context.rate = limited.headers
        let ordinal = takeOrdinal(token)
        do throws(Problem) {
            if let problem = limited.problem { throw problem }
            try checkTenant(assembler, bytes, principal)
            let origin = Origin(core: UInt8(index), isSocket: false, token: token, ordinal: ordinal)
            switch match.route {
            case .message:
                try postMessage(token, assembler, bytes, body, principal, origin, context)
            case .conversations: try listConversations(assembler, bytes, principal, origin, context)
            case .session: try session(assembler, bytes, match, principal, origin, context)
            case .sessions: try listSessions(assembler, bytes, principal, origin, context)
            case .cancel: try cancelRun(assembler, bytes, match, principal, origin, context)
            case .events:
                try openEvents(token, assembler, bytes, match, principal, ordinal, context)
            case .read:
                try markRead(assembler, bytes, body, match, principal, origin, context)
            case .typing:
                try postTyping(assembler, bytes, body, match, principal, origin, context)
            case .messages:
                try postAgentMessage(assembler, bytes, body, match, principal, origin, context)
            case .entry, .reactions:
                try changeMessage(assembler, bytes, body, match, principal, origin, context)
            case .conversation where assembler.head.method == .patch:
                try patchConversation(assembler, bytes, body, match, principal, origin, context)
            default: try getConversation(assembler, bytes, match, principal, origin, context)
            }
        } catch {
            respond(token, ordinal, context, error)
        }
        return true
    }

    func checkTenant(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ principal: Principal
    ) throws(Problem) {
        guard let range = assembler.head.value(.xTenantID) else { return }
        let name = directory[principal.tenant].name
        guard name.bytes.equals(bytes.part(range)) else {
            throw Problem(.tenantMismatch, "X-Tenant-ID is not the credential's tenant.")
        }
    }

    func require(_ principal: Principal, _ permission: Permissions) throws(Problem) {
        guard principal.may(permission) else {
            throw Problem(.forbidden, "The credential's roles do not allow this.")
        }
    }

    private func postMessage(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody,
        _ principal: Principal,
        _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .messageSend)
        try parseBody(assembler, bytes, body)
        let key = try idempotencyKey(assembler, bytes)
        let submission = try messageReader.read(
            MessageRequestReader.Context(
                origin: origin, frameID: nil, principal: principal,
                tenant: directory[principal.tenant],
                key: key, waitsForReply: !prefersAsync(assembler, bytes),
                nowNanoseconds: clock.nanoseconds))
        metrics.messagesIn.add()
        expect(token, origin.ordinal, context)
        ask(.submit(submission), shardKey: submission.shardKey)
    }

    func requireJSON(_ assembler: RequestAssembler, _ bytes: RawSpan) throws(Problem) {
        guard let range = assembler.head.value(.contentType) else {
            throw Problem(.unsupportedMediaType, "Send Content-Type: application/json.")
        }
        let value = bytes.part(range)
        let type = value.extracting(0..<value.firstOffset(of: 0x3B)).trimmed()
        guard type.equalsIgnoringCase("application/json"), Self.isUTF8(value) else {
            throw Problem(.unsupportedMediaType, "Send Content-Type: application/json, in UTF-8.")
        }
        if let coding = assembler.head.value(.contentEncoding),
            !bytes.part(coding).equalsIgnoringCase("identity")
        {
            throw Problem(.unsupportedMediaType, "Content-Encoding is not supported.")
        }
    }

    /// True unless a charset parameter names another one.
    private static func isUTF8(_ type: RawSpan) -> Bool {
        var offset = type.firstOffset(of: 0x3B)
        while offset < type.byteCount {
            let end = type.firstOffset(of: 0x3B, from: offset + 1)
            let parameter = type.extracting(offset + 1..<end).trimmed()
            let equals = parameter.firstOffset(of: 0x3D)
            if parameter.extracting(0..<equals).equalsIgnoringCase("charset"),
                equals < parameter.byteCount
            {
                let charset = parameter.extracting(equals + 1..<parameter.byteCount)
                guard charset.equalsIgnoringCase("utf-8") || charset.equalsIgnoringCase("\"utf-8\"")
                else { return false }
            }
            offset = end
        }
        return true
    }

    private func prefersAsync(_ assembler: RequestAssembler, _ bytes: RawSpan) -> Bool {
        guard let range = assembler.head.value(.prefer) else { return false }
        var scanner = HTTPListScanner(range)
        while let item = try? scanner.next(bytes) {
            if bytes.part(item.name).equalsIgnoringCase("respond-async") { return true }
        }
        return false
    }

    /// The whole tenant for those who may act for any user; otherwise the principal's own.
    func scope(_ principal: Principal, userID: ByteBlock?) throws(Problem) -> Scope {
        let name = directory[principal.tenant].name
        if principal.may(.anyUser) {
            return Scope(
                tenant: principal.tenant, tenantName: name, userID: userID,
                showsInternal: principal.seesInternal)
        }
        if let userID, !userID.equals(principal.subject) {
            throw Problem(.forbidden, "This token may only list its own conversations.")
        }
        return Scope(tenant: principal.tenant, tenantName: name, userID: principal.subject)
    }

    private static let tooManySearches = Problem(
        .temporarilyUnavailable, "Too many searches wait already. Try again.",
        retryAfterSeconds: 1)

    private func listConversations(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ principal: Principal, _ origin: Origin,
        _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .conversationList)
        let query = try PageQuery(bytes, assembler.head.query, scratch: scratch)
        let job = try query.list(try scope(principal, userID: query.userID), origin)
        if job.terms != nil {
            guard store.trySearch(job) else { throw Self.tooManySearches }
        } else {
            store.read(.list(job))
        }
        expect(origin.token, origin.ordinal, context)
    }

    private func getConversation(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ match: RouteMatch,
        _ principal: Principal,
        _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .conversationRead)
        let id = try conversationID(assembler, bytes, match)
        let query = try PageQuery(bytes, assembler.head.query, scratch: scratch)
        let job = try query.history(id, try scope(principal, userID: nil), origin)
        if polls(origin.token, assembler, bytes, query, job, principal, context) { return }
        expect(origin.token, origin.ordinal, context)
        store.read(.history(job))
    }
}
