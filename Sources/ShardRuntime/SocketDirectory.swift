// Owner: one core. Which of its sockets follow which conversation, and which belong to which user.

import Bytes
import ChatModel

final class SocketDirectory {
    private var followers: [Identifier: [Token]] = [:]
    /// Answers that told a socket of this core to follow, and were not given back to the owner.
    private var answers: [Identifier: Int] = [:]
    private var users: [UserKey: [Token]] = [:]
    /// The sockets of `/bench/broadcast`.
    private(set) var broadcast: [Token] = []

    /// Conversations that somebody follows here, and users who have a socket here.
    var followedCount: Int { max(followers.count, answers.count) }
    var userCount: Int { users.count }

    func followers(of id: Identifier) -> [Token] { followers[id] ?? [] }
    func sockets(of user: UserKey) -> [Token] { users[user] ?? [] }

    func follow(_ id: Identifier, _ token: Token) { followers[id, default: []].append(token) }

    /// True when it was the last one here.
    func unfollow(_ id: Identifier, _ token: Token) -> Bool {
        guard let place = followers[id]?.firstIndex(of: token) else { return false }
        followers[id]?.remove(at: place)
        guard followers[id]?.isEmpty ?? false else { return false }
        followers[id] = nil
        return true
    }

    func didAnswer(_ id: Identifier) { answers[id, default: 0] += 1 }

    /// How many answers there were since this was last called.
    func takeAnswers(_ id: Identifier) -> Int { answers.removeValue(forKey: id) ?? 0 }

    func add(_ token: Token, of user: UserKey) { users[user, default: []].append(token) }

    /// True when it was the user's last one here.
    func remove(_ token: Token, of user: UserKey) -> Bool {
        guard let place = users[user]?.firstIndex(of: token) else { return false }
        users[user]?.remove(at: place)
        guard users[user]?.isEmpty ?? false else { return false }
        users[user] = nil
        return true
    }

    func addBroadcast(_ token: Token) { broadcast.append(token) }

    func removeBroadcast(_ token: Token) {
        if let place = broadcast.firstIndex(of: token) {
            broadcast.swapAt(place, broadcast.count - 1)
            broadcast.removeLast()
        }
    }
}
