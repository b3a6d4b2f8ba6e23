import Bytes
import Wire

/// The routes of the service; the raw value is the metric's label index.
public enum Route: UInt8, Sendable, CaseIterable {
    case unknown = 0
    case index, health, healthDetailed, livez, readyz, startupz, metrics, info
    case openapi, asyncapi, widget, console, consoleScript
    case guest, message, conversations, conversation, messages, events, cancel, sessions, session
    /// One message of a conversation, and what is said to it.
    case entry, reactions
    case read, typing
    case socket
    case benchPlaintext, benchSink, benchEcho, benchBroadcast

    /// The path as documented; also the `route` label of the metrics.
    public var pattern: StaticString {
        switch self {
        case .unknown: "unmatched"
        case .index: "/"
        case .health: "/health"
        case .healthDetailed: "/health/detailed"
        case .livez: "/livez"
        case .readyz: "/readyz"
        case .startupz: "/startupz"
        case .metrics: "/metrics"
        case .info: "/info"
        case .openapi: "/openapi.yaml"
        case .asyncapi: "/asyncapi.yaml"
        case .widget: "/widget.js"
        case .console: "/console"
        case .consoleScript: "/console.js"
        case .guest: "/api/v2/auth/guest"
        case .message: "/api/v2/chat/message"
        case .conversations: "/api/v2/chat/conversations"
        case .conversation: "/api/v2/chat/conversations/{id}"
        case .messages: "/api/v2/chat/conversations/{id}/messages"
        case .entry: "/api/v2/chat/conversations/{id}/messages/{message_id}"
        case .reactions: "/api/v2/chat/conversations/{id}/messages/{message_id}/reactions"
        case .events: "/api/v2/chat/conversations/{id}/events"
        case .read: "/api/v2/chat/conversations/{id}/read"
        case .typing: "/api/v2/chat/conversations/{id}/typing"
        case .cancel: "/api/v2/chat/runs/{id}/cancel"
        case .sessions: "/api/v2/chat/sessions"
        case .session: "/api/v2/chat/sessions/{id}"
        case .socket: "/api/v2/chat/ws"
        case .benchPlaintext: "/bench/plaintext"
        case .benchSink: "/bench/sink"
        case .benchEcho: "/bench/echo"
        case .benchBroadcast: "/bench/broadcast"
        }
    }

    public var isBench: Bool { rawValue >= Route.benchPlaintext.rawValue }

    /// A part of the path is an id.
    public var hasVariable: Bool {
        switch self {
        case .conversation, .messages, .entry, .reactions, .events, .read, .typing, .cancel,
            .session:
            true
        default: false
        }
    }

    /// For the Allow header. GET routes answer HEAD too; OPTIONS is a preflight.
    public var allows: StaticString {
        switch self {
        case .guest, .message, .messages, .reactions, .read, .typing, .cancel, .benchSink:
            "POST, OPTIONS"
        case .entry: "DELETE, PATCH, OPTIONS"
        case .conversation: "GET, HEAD, PATCH, OPTIONS"
        case .socket, .benchEcho, .benchBroadcast: "GET, OPTIONS"
        case .session: "GET, HEAD, DELETE, OPTIONS"
        default: "GET, HEAD, OPTIONS"
        }
    }

    public func accepts(_ method: HTTPMethod) -> Bool {
        switch self {
        case .guest, .message, .messages, .reactions, .read, .typing, .cancel, .benchSink:
            method == .post
        case .entry: method == .patch || method == .delete
        case .conversation: method == .get || method == .head || method == .patch
        case .socket, .benchEcho, .benchBroadcast: method == .get
        case .session: method == .get || method == .head || method == .delete
        default: method == .get || method == .head
        }
    }
}

/// A route, and where its variable parts stand in the path.
public struct RouteMatch: Sendable {
    public let route: Route
    public let variable: ByteRange
    /// Of a message's path: its id.
    public var second = ByteRange.empty

    public static let none = RouteMatch(route: .unknown, variable: .empty)
}

public enum Router {
    /// Matches a path without its query. By length first: one comparison for most requests.
    public static func match(_ path: RawSpan) -> RouteMatch {
        switch path.byteCount {
        case 1: return fixed(path, "/", .index)
        case 5: return fixed(path, "/info", .info)
        case 6: return fixed(path, "/livez", .livez)
        case 7:
            return path.equals("/health")
                ? fixed(path, "/health", .health) : fixed(path, "/readyz", .readyz)
        case 8:
            return path.equals("/metrics")
                ? fixed(path, "/metrics", .metrics) : fixed(path, "/console", .console)
        case 9: return fixed(path, "/startupz", .startupz)
        case 10: return fixed(path, "/widget.js", .widget)
        case 11:
            if path.equals("/bench/echo") { return RouteMatch(route: .benchEcho, variable: .empty) }
            if path.equals("/bench/sink") { return RouteMatch(route: .benchSink, variable: .empty) }
            return fixed(path, "/console.js", .consoleScript)
        case 13: return fixed(path, "/openapi.yaml", .openapi)
        case 14: return fixed(path, "/asyncapi.yaml", .asyncapi)
        case 15: return fixed(path, "/api/v2/chat/ws", .socket)
        case 16:
            if path.equals("/health/detailed") {
                return RouteMatch(route: .healthDetailed, variable: .empty)
            }
            if path.equals("/bench/broadcast") {
                return RouteMatch(route: .benchBroadcast, variable: .empty)
            }
            return fixed(path, "/bench/plaintext", .benchPlaintext)
        case 18: return fixed(path, "/api/v2/auth/guest", .guest)
        case 20: return fixed(path, "/api/v2/chat/message", .message)
        case 21: return fixed(path, "/api/v2/chat/sessions", .sessions)
        case 26 where path.equals("/api/v2/chat/conversations"):
            return RouteMatch(route: .conversations, variable: .empty)
        default: return variable(path)
        }
    }

    private static func fixed(
        _ path: RawSpan, _ pattern: StaticString, _ route: Route
    ) -> RouteMatch {
        RouteMatch(route: path.equals(pattern) ? route : .unknown, variable: .empty)
    }

    private static func variable(_ path: RawSpan) -> RouteMatch {
        let sessions: StaticString = "/api/v2/chat/sessions/"
        if path.hasPrefix(sessions), path.byteCount > sessions.utf8CodeUnitCount {
            let rest = ByteRange(sessions.utf8CodeUnitCount, path.byteCount)
            if path.part(rest).firstOffset(of: 0x2F) == rest.count {
                return RouteMatch(route: .session, variable: rest)
            }
        }
        let runs: StaticString = "/api/v2/chat/runs/"
        if path.hasPrefix(runs) {
            let start = runs.utf8CodeUnitCount
            let slash = path.firstOffset(of: 0x2F, from: start)
            let tail = path.extracting(slash..<path.byteCount)
            if slash > start, tail.equals("/cancel") {
                return RouteMatch(route: .cancel, variable: ByteRange(start, slash))
            }
        }
        let prefix: StaticString = "/api/v2/chat/conversations/"
        if path.byteCount > prefix.utf8CodeUnitCount, path.hasPrefix(prefix) {
            let rest = ByteRange(prefix.utf8CodeUnitCount, path.byteCount)
            let slash = path.part(rest).firstOffset(of: 0x2F)
            if slash == rest.count { return RouteMatch(route: .conversation, variable: rest) }
            let id = ByteRange(prefix.utf8CodeUnitCount, prefix.utf8CodeUnitCount + slash)
            let tail = path.part(ByteRange(prefix.utf8CodeUnitCount + slash, path.byteCount))
            if slash > 0, tail.equals("/events") { return RouteMatch(route: .events, variable: id) }
            if slash > 0, tail.equals("/read") { return RouteMatch(route: .read, variable: id) }
            if slash > 0, tail.equals("/typing") { return RouteMatch(route: .typing, variable: id) }
            if slash > 0, tail.equals("/messages") {
                return RouteMatch(route: .messages, variable: id)
            }
            let messages: StaticString = "/messages/"
            if slash > 0, tail.hasPrefix(messages) {
                return message(path, id, from: Int(id.end) + messages.utf8CodeUnitCount)
            }
        }
        return RouteMatch(route: .unknown, variable: .empty)
    }
    /// `{message_id}` and `{message_id}/reactions`.
    private static func message(_ path: RawSpan, _ id: ByteRange, from start: Int) -> RouteMatch {
        let end = path.firstOffset(of: 0x2F, from: start)
        guard end > start else { return .none }
        let second = ByteRange(start, end)
        if end == path.byteCount {
            return RouteMatch(route: .entry, variable: id, second: second)
        }
        guard path.extracting(end..<path.byteCount).equals("/reactions") else { return .none }
        return RouteMatch(route: .reactions, variable: id, second: second)
    }
}
