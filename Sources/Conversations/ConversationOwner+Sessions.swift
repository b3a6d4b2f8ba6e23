// Sessions from outside: looked up, listed, ended.

import Bytes
import ChatModel

extension ConversationOwner {
    static let unknownSession = Problem(.notFound, "There is no such session.")

    func session(_ id: Identifier, _ origin: Origin, _ principal: Principal) {
        guard let user = found(id, principal) else {
            return fail(origin, nil, Self.unknownSession)
        }
        encoder.removeAll()
        write(user, id)
        succeed(origin, status: 200, ByteSlice(encoder.block()))
    }

    /// A user has one session or none.
    func sessions(of key: UserKey, _ origin: Origin) {
        encoder.removeAll()
        encoder.append("{\"data\":[")
        if let user = users[key], let id = user.session, isAlive(user) { write(user, id) }
        encoder.append("]}")
        succeed(origin, status: 200, ByteSlice(encoder.block()))
    }

    /// Its sockets are closed; the next message makes a new session.
    func endSession(_ id: Identifier, _ origin: Origin, _ principal: Principal) {
        guard let user = found(id, principal) else {
            return fail(origin, nil, Self.unknownSession)
        }
        sessions[id] = nil
        user.session = nil
        user.deviceList = []
        if user.devices != 0 { actions.append(.dismiss(user.key, cores: user.devices)) }
        succeed(origin, status: 204, Self.nothing)
    }

    private func isAlive(_ user: UserState) -> Bool {
        nowMilliseconds &- user.sessionSeenMilliseconds <= sessionTimeToLiveMilliseconds
    }

    /// Nobody else is told that there is such a session.
    private func found(_ id: Identifier, _ principal: Principal) -> UserState? {
        guard let key = sessions[id], let user = users[key], user.session == id, isAlive(user),
            principal.tenant == key.tenant,
            principal.may(.anyUser) || principal.subject.equals(key.userID)
        else { return nil }
        return user
    }

    private func write(_ user: UserState, _ id: Identifier) {
        encoder.append("{\"id\":\"")
        id.write(.session, into: encoder)
        encoder.append("\",\"user_id\":")
        encoder.append(json: user.key.userID)
        encoder.append(",\"devices\":[")
        for (index, device) in user.deviceList.enumerated() {
            encoder.append(index == 0 ? "{\"id\":" : ",{\"id\":")
            encoder.append(json: device.id)
            let isConnected = device.socketCount > 0
            encoder.append(isConnected ? ",\"connected\":true" : ",\"connected\":false")
            encoder.append(",\"last_seen_at\":\"")
            encoder.append(timestamp: isConnected ? nowMilliseconds : device.seenMilliseconds)
            encoder.append("\"}")
        }
        encoder.append("],\"context\":{\"conversations\":{")
        var isFirst = true
        for channel in Channel.allCases {
            guard let conversation = user.open[Int(channel.rawValue)] else { continue }
            encoder.append(isFirst ? "\"" : ",\"")
            isFirst = false
            encoder.append(channel.name)
            encoder.append("\":\"")
            conversation.write(.conversation, into: encoder)
            encoder.append("\"")
        }
        encoder.append("}},\"created_at\":\"")
        encoder.append(timestamp: id.milliseconds)
        encoder.append("\",\"last_activity_at\":\"")
        encoder.append(timestamp: user.sessionSeenMilliseconds)
        encoder.append("\",\"expires_at\":\"")
        encoder.append(timestamp: user.sessionSeenMilliseconds + sessionTimeToLiveMilliseconds)
        encoder.append("\"}")
    }
}
