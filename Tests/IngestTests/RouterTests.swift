import Bytes
import Testing
import Wire

@testable import Ingest

private func route(_ path: String) -> (route: Route, variable: String) {
    let block = ByteBlock(path)
    let match = Router.match(block.bytes)
    return (match.route, block.bytes.part(match.variable).string())
}

private let fixed: [(String, Route)] = Route.allCases.compactMap { route in
    route == .unknown || route.hasVariable ? nil : (route.pattern.description, route)
}

@Suite struct RouterTests {
    @Test func `Every documented path has its route`() {
        #expect(fixed.count == Route.allCases.filter { !$0.hasVariable }.count - 1)
        for (path, wanted) in fixed {
            #expect(route(path).route == wanted, "\(path)")
            #expect(route(path).variable == "")
        }
    }

    @Test func `A conversation's path gives its id`() {
        for id in ["x", "conv_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061", "%2F", "ws", "..", "a b"] {
            let found = route("/api/v2/chat/conversations/\(id)")
            #expect(found.route == .conversation)
            #expect(found.variable == id)
        }
    }

    @Test func `A conversation's events have the id before them`() {
        for id in ["x", "conv_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061", "events", "a b"] {
            let found = route("/api/v2/chat/conversations/\(id)/events")
            #expect(found.route == .events)
            #expect(found.variable == id)
        }
        for tail in ["/event", "/eventss", "/events/", "//events", "/Events", "/x/events"] {
            #expect(route("/api/v2/chat/conversations/x" + tail).route == .unknown, "\(tail)")
        }
        #expect(route("/api/v2/chat/conversations//events").route == .unknown)
        #expect(route("/api/v2/chat/conversations/events").route == .conversation)
    }

    @Test func `A session's path gives its id`() {
        let found = route("/api/v2/chat/sessions/sess_1")
        #expect(found.route == .session)
        #expect(found.variable == "sess_1")
        for path in ["/", "/x/", "//", "/x/y"] {
            #expect(route("/api/v2/chat/sessions" + path).route == .unknown)
        }
    }

    @Test func `A run is cancelled by its id`() {
        for id in ["x", "run_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061", "cancel"] {
            let found = route("/api/v2/chat/runs/\(id)/cancel")
            #expect(found.route == .cancel)
            #expect(found.variable == id)
        }
        for tail in ["", "/", "/x", "/x/", "/x/cancel/", "/x/cancelled", "//cancel", "/x/y/cancel"]
        {
            #expect(route("/api/v2/chat/runs" + tail).route == .unknown, "\(tail)")
        }
    }

    @Test func `What stands below a conversation has its id too`() {
        for (name, wanted) in [("messages", Route.messages), ("read", .read), ("typing", .typing)] {
            let found = route("/api/v2/chat/conversations/conv_x/\(name)")
            #expect(found.route == wanted)
            #expect(found.variable == "conv_x")
            #expect(route("/api/v2/chat/conversations//\(name)").route == .unknown)
            #expect(route("/api/v2/chat/conversations/conv_x/\(name)/").route == .unknown)
        }
    }

    @Test func `A message of a conversation has two ids`() {
        for (id, message) in [("conv_x", "msg_y"), ("x", "reactions"), ("messages", "messages")] {
            let path = ByteBlock("/api/v2/chat/conversations/\(id)/messages/\(message)")
            let match = Router.match(path.bytes)
            #expect(match.route == .entry)
            #expect(path.bytes.part(match.variable).string() == id)
            #expect(path.bytes.part(match.second).string() == message)
            let reactions = ByteBlock(path.bytes.string() + "/reactions")
            let other = Router.match(reactions.bytes)
            #expect(other.route == .reactions)
            #expect(reactions.bytes.part(other.variable).string() == id)
            #expect(reactions.bytes.part(other.second).string() == message)
        }
        for tail in [
            "/", "/y/", "/y/x", "/y/reactions/", "/y/reactionss", "/y/Reactions", "//reactions",
            "/y/x/reactions", "//",
        ] {
            #expect(route("/api/v2/chat/conversations/x/messages" + tail).route == .unknown)
        }
        #expect(route("/api/v2/chat/conversations//messages/y").route == .unknown)
    }

    @Test func `One byte more, less or other than a path is no route`() {
        for (path, wanted) in fixed where path != "/" {
            let bytes = Array(path.utf8)
            for place in bytes.indices {
                for byte in UInt8.min...UInt8.max where byte != bytes[place] {
                    var other = bytes
                    other[place] = byte
                    let block = ByteBlock(other)
                    #expect(Router.match(block.bytes).route == .unknown)
                }
                var shorter = bytes
                shorter.remove(at: place)
                let block = ByteBlock(shorter)
                #expect(Router.match(block.bytes).route != wanted)
            }
            for suffix in ["/", "x", "?", " ", "%20", "/..", "\0"] {
                #expect(route(path + suffix).route != wanted, "\(path + suffix)")
            }
            #expect(route("/" + path).route == .unknown)
            #expect(route(path.uppercased()).route == .unknown)
        }
    }

    @Test(arguments: [
        "", "x", "//", "health", "/Health", "/health/", "/health/Detailed", "/healthz", "/api",
        "/api/",
        "/api/v2", "/api/v1/chat/message", "/api/v3/chat/message", "/api/v2/chat", "/api/v2/chat/",
        "/api/v2/chat/messages", "/api/v2/chat/conversations/", "/api/v2/chat/conversation/x",
        "/api/v2/chat/conversations/x/", "/api/v2/chat/conversations/x/messages/",
        "/api/v2/chat/conversations//messages", "/api/v2/chat/conversations/x/y/messages",
        "/api/v2/chat/conversations//x", "/api/v2/chat/conversationsx/y", "/bench", "/bench/",
        "/bench/echo/", "/bench/sinks", "/openapi.yml", "/../health", "/health/../info",
        "/%68ealth", "/index.html", "/metrics/", "*", "/api/v2/chat/wss", "/robots.txt",
        "/console/", "/console.html", "/Console",
    ])
    func `A near miss is no route`(_ path: String) {
        #expect(route(path).route == .unknown)
        #expect(route(path).variable == "")
    }

    @Test func `Each route accepts its methods and no other`() {
        let posts: [Route] = [
            .guest, .message, .messages, .reactions, .read, .typing, .cancel, .benchSink,
        ]
        let sockets: [Route] = [.socket, .benchEcho, .benchBroadcast]
        let methods: [HTTPMethod] = [.get, .head, .post, .put, .delete, .patch, .options]
        for route in Route.allCases where route != .unknown {
            for method in methods {
                let wanted: Bool =
                    if posts.contains(route) { method == .post } else if sockets.contains(route) {
                        method == .get
                    } else if route == .session {
                        [.get, .head, .delete].contains(method)
                    } else if route == .entry {
                        method == .delete || method == .patch
                    } else if route == .conversation {
                        method == .get || method == .head || method == .patch
                    } else { method == .get || method == .head }
                #expect(route.accepts(method) == wanted, "\(method) \(route)")
            }
        }
    }

    @Test func `The Allow header names what is accepted, and OPTIONS`() {
        let names: [(HTTPMethod, String)] = [
            (.get, "GET"), (.head, "HEAD"), (.post, "POST"), (.delete, "DELETE"),
            (.patch, "PATCH"),
        ]
        for route in Route.allCases where route != .unknown {
            let allowed = route.allows.description.split(separator: ", ").map(String.init)
            #expect(allowed == names.filter { route.accepts($0.0) }.map(\.1) + ["OPTIONS"])
        }
    }

    @Test func `Bench routes are those below bench and no other`() {
        for route in Route.allCases {
            #expect(route.isBench == route.pattern.description.hasPrefix("/bench/"))
        }
    }
}
