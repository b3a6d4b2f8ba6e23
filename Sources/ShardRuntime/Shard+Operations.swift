// Health, metrics, information, documents and the page: answered from memory, at once.

import API
import Bytes
import CLinux
import ChatModel
import Ingest
import Reactor
import Wire

extension Shard {
    func handleOperations(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ context: RequestContext
    ) {
        let ordinal = takeOrdinal(token)
        let body = scratch
        switch context.route {
        case .health:
            body.removeAll()
            writeHealth(into: body)
            respond(token, ordinal, context, 200, MediaType.json, body)
        case .benchPlaintext:
            body.removeAll()
            body.append("Hello, World!")
            respond(token, ordinal, context, 200, MediaType.text, body)
        case .livez: respondState(token, ordinal, context, isUp: true)
        case .readyz: respondState(token, ordinal, context, isUp: canServe)
        case .startupz: respondState(token, ordinal, context, isUp: service.isReady)
        case .healthDetailed, .metrics: handleGuarded(token, ordinal, assembler, bytes, context)
        case .info:
            body.removeAll()
            writeInfo(into: body)
            respond(token, ordinal, context, 200, MediaType.json, body)
        case .openapi: respond(token, ordinal, assembler, bytes, context, Assets.openAPI)
        case .asyncapi: respond(token, ordinal, assembler, bytes, context, Assets.asyncAPI)
        case .widget: respond(token, ordinal, assembler, bytes, context, Assets.widget)
        case .index: respond(token, ordinal, assembler, bytes, context, Assets.indexPage)
        case .console: respond(token, ordinal, assembler, bytes, context, Assets.consolePage)
        case .consoleScript: respond(token, ordinal, assembler, bytes, context, Assets.console)
        default:
            respond(token, ordinal, context, Problem(.notFound, "There is no such route."))
        }
    }

    /// A file of the program: whole, or 304 when the client has it.
    private func respond(
        _ token: Token, _ ordinal: UInt32, _ assembler: RequestAssembler, _ bytes: RawSpan,
        _ context: RequestContext, _ asset: Asset
    ) {
        let condition = assembler.head.value(.ifNoneMatch)
        let isKnown = condition.map { asset.isNamed(in: bytes.part($0)) } ?? false
        var head = head(context, isKnown ? 304 : 200, asset.mediaType)
        head.entityTag = asset.tag
        head.contentSecurityPolicy = asset.policy
        if asset.isForAllOrigins {
            head.isForAllOrigins = true
            head.allowedOrigin = nil
        }
        respond(token, ordinal, context, head, isKnown ? Self.noBody : asset.bytes)
    }

    /// Ready: accepting, not draining, and a store that takes messages.
    private var canServe: Bool {
        service.isReady && !service.isDraining && service.storeMetrics.isWritable.current == 1
    }

    private func respondState(
        _ token: Token, _ ordinal: UInt32, _ context: RequestContext, isUp: Bool
    ) {
        scratch.removeAll()
        scratch.append(isUp ? "{\"status\":\"pass\"}" : "{\"status\":\"fail\"}")
        respond(token, ordinal, context, isUp ? 200 : 503, MediaType.json, scratch)
    }

    private var uptimeSeconds: UInt64 {
        (clock.nanoseconds &- service.startedNanoseconds) / 1_000_000_000
    }

    private func writeHealth(into body: ByteWriter) {
        body.append("{\"status\":\"")
        if service.isDraining {
            body.append("fail")
        } else {
            body.append(service.storeMetrics.isWritable.current == 1 ? "pass" : "warn")
        }
        body.append("\",\"version\":\"")
        body.append(ServiceState.version)
        body.append("\",\"uptime_seconds\":")
        body.append(decimal: uptimeSeconds)
        body.append(0x7D)
    }

    // MARK: Guarded routes

    /// `/metrics` and `/health/detailed` tell about the inside: loopback, `ops:read`, or
    /// OPS_PUBLIC.
    private func handleGuarded(
        _ token: Token, _ ordinal: UInt32, _ assembler: RequestAssembler, _ bytes: RawSpan,
        _ context: RequestContext
    ) {
        if !configuration.opsArePublic, !isLoopback(token) {
            // A key that must be looked up is refused here: scrapers use tokens or OPS_PUBLIC.
            guard case .principal(let principal) = admitToken(assembler, bytes) else {
                return respond(
                    token, ordinal, context,
                    Problem(
                        .unauthenticated, "This route needs a token with the role ops from here."))
            }
            guard principal.may(.opsRead) else {
                return respond(
                    token, ordinal, context,
                    Problem(.forbidden, "The credential's roles do not allow this."))
            }
        }
        let body = scratch
        body.removeAll()
        if context.route == .metrics {
            let isOpen = assembler.head.value(.accept).map { accepts(bytes.part($0)) } ?? false
            publishHeldConversations()
            MetricsExposition(
                service: service, directory: directory, uptimeSeconds: uptimeSeconds
            ).write(into: body, isOpenMetrics: isOpen)
            respond(
                token, ordinal, context, 200, isOpen ? MediaType.openMetrics : MediaType.metrics,
                body)
        } else {
            let isUp = service.storeMetrics.isWritable.current == 1
            writeDetails(into: body, isUp: isUp)
            respond(token, ordinal, context, isUp ? 200 : 503, MediaType.health, body)
        }
    }

    private func accepts(_ value: RawSpan) -> Bool {
        var scanner = HTTPListScanner(ByteRange(0, value.byteCount))
        while let item = try? scanner.next(value) {
            if value.part(item.name).equalsIgnoringCase("application/openmetrics-text") {
                return true
            }
        }
        return value.hasPrefix("application/openmetrics-text")
    }

    private func admitToken(_ assembler: RequestAssembler, _ bytes: RawSpan) -> Admission {
        guard let range = assembler.head.value(.authorization) else {
            return .refused(Problem(.unauthenticated, ""))
        }
        let value = bytes.part(range)
        guard value.byteCount > 7, value.extracting(0..<7).equalsIgnoringCase("bearer "),
            let principal = try? verifier.verify(
                value.extracting(7..<value.byteCount), nowSeconds: clock.milliseconds / 1000)
        else { return .refused(Problem(.unauthenticated, "")) }
        return .principal(principal)
    }

    private func isLoopback(_ token: Token) -> Bool {
        var address = InlineArray<16, UInt8>(repeating: 0)
        PeerAddress.read(connections[token.slot].descriptor, into: &address)
        if address[10] == 0xFF, address[11] == 0xFF { return address[12] == 127 }
        for index in 0..<15 where address[index] != 0 { return false }
        return address[15] == 1
    }

    /// draft-inadarei-api-health-check.
    private func writeDetails(into body: ByteWriter, isUp: Bool) {
        let state: StaticString = isUp ? "pass" : "fail"
        body.append("{\"status\":\"")
        body.append(state)
        body.append("\",\"version\":\"")
        body.append(ServiceState.version)
        body.append("\",\"serviceId\":\"chat-service\",\"uptime_seconds\":")
        body.append(decimal: uptimeSeconds)
        body.append(
            ",\"checks\":{\"sqlite:responseTime\":[{\"componentType\":\"datastore\",\"observedValue\":"
        )
        let commit = service.storeMetrics.commitMicroseconds
        let commits = commit.counts.reduce(0, +)
        body.append(string: Self.milliseconds(commits == 0 ? 0 : commit.sum / commits))
        body.append(",\"observedUnit\":\"ms\",\"status\":\"")
        body.append(state)
        body.append("\"}],\"reactor:loopLag\":[")
        for (place, shard) in service.shardMetrics.enumerated() {
            if place > 0 { body.append(0x2C) }
            let counts = shard.lagMicroseconds.counts.reduce(0, +)
            body.append("{\"componentId\":\"")
            body.append(decimal: place)
            body.append("\",\"componentType\":\"system\",\"observedValue\":")
            body.append(
                string: Self.milliseconds(counts == 0 ? 0 : shard.lagMicroseconds.sum / counts))
            body.append(",\"observedUnit\":\"ms\",\"status\":\"pass\"}")
        }
        body.append("]}}")
    }

    /// Microseconds as milliseconds with three decimals.
    private static func milliseconds(_ microseconds: UInt64) -> String {
        let rest = String(microseconds % 1000)
        return "\(microseconds / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
    }

    private func writeInfo(into body: ByteWriter) {
        body.append("{\"service\":\"chat-service\",\"version\":\"")
        body.append(ServiceState.version)
        body.append("\",\"commit\":\"")
        body.append(string: BuildInformation.commit)
        body.append("\",\"built_at\":\"")
        body.append(string: BuildInformation.builtAt)
        body.append(
            "\",\"api_versions\":[\"v2\"],\"features\":[\"guest\",\"websocket\",\"permessage-deflate\","
        )
        body.append(
            "\"server-sent-events\",\"idempotency\",\"streaming\",\"builtin-engine\",\"sqlite\"],\"limits\":{\"message_bytes\":"
        )
        body.append(decimal: configuration.messageBytesMax)
        body.append(",\"text_characters\":")
        body.append(decimal: Limits.textCharactersMax)
        body.append(",\"page\":")
        body.append(decimal: Limits.pageMax)
        body.append(",\"requests_per_minute\":")
        body.append(decimal: configuration.defaultRateLimit)
        body.append("},\"node\":\"")
        body.append(string: service.node)
        body.append("\",\"backend\":\"")
        body.append(string: service.backendName)
        body.append("\",\"threads\":")
        body.append(decimal: service.coreCount)
        body.append(0x7D)
    }
}
