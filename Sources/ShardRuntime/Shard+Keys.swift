// API keys that are looked up, and what is still open under one that is revoked.
//
// A request asks for its key again when the core's copy is five seconds old. A socket or a stream
// shows its key once and stays, so the keys in use are looked up when the directory has changed.

import ChatModel
import Identity
import Reactor
import Stores

extension Shard {
    /// A lookup came back: who waited for it goes on, and what an invalid key holds open ends.
    func didLookUpKey(_ id: UInt64, _ record: APIKeyRecord?) {
        apiKeys.didLookUp(id: id, record, nowNanoseconds: clock.nanoseconds)
        for token in keyWaiters.removeValue(forKey: id) ?? [] { release(token) }
        // No record may also mean that the store could not be read: that ends nothing.
        guard let record, record.isRevoked || record.expiresAtSeconds <= nowSeconds else { return }
        for token in connections.tokens() {
            guard connections.contains(token), let session = connections[token.slot].session,
                session.principal?.apiKey == id, session.state != .closing
            else { continue }
            if let stream = session.stream, session.state == .open {
                endStream(token, session, stream, "the API key is no longer valid")
            } else if connections[token.slot].phase == .socket {
                closeSocket(token, session, 4401, "The API key is no longer valid.")
            }
        }
    }

    /// The directory has changed: one lookup for each key that a socket or stream stands on.
    func askForKeysInUse() {
        var asked: Set<UInt64> = []
        for token in connections.tokens() {
            guard let key = connections[token.slot].session?.principal?.apiKey,
                asked.insert(key).inserted
            else { continue }
            store.read(.apiKey(id: key))
        }
    }

    private var nowSeconds: UInt64 { clock.milliseconds / 1000 }
}
