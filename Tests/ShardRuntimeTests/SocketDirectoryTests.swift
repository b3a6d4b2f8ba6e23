import Bytes
import ChatModel
import Testing

@testable import ShardRuntime

private func token(_ slot: UInt32, _ generation: UInt32 = 1) -> Token {
    Token(slot: slot, generation: generation)
}

private func user(_ name: String, tenant: UInt16 = 0) -> UserKey {
    UserKey(tenant: TenantIndex(tenant), userID: ByteBlock(name))
}

private let chat = Identifier(high: 1, low: 2)
private let other = Identifier(high: 1, low: 3)

@Suite struct SocketDirectoryTests {
    @Test func `A new directory knows nobody`() {
        let directory = SocketDirectory()
        #expect(directory.followers(of: chat) == [])
        #expect(directory.sockets(of: user("ann")) == [])
        #expect(directory.broadcast == [])
    }

    @Test func `Followers are those of their conversation, in the order they came`() {
        let directory = SocketDirectory()
        directory.follow(chat, token(1))
        directory.follow(chat, token(2))
        directory.follow(other, token(3))
        directory.follow(other, token(1))
        #expect(directory.followers(of: chat) == [token(1), token(2)])
        #expect(directory.followers(of: other) == [token(3), token(1)])
        #expect(directory.followers(of: Identifier(high: 2, low: 2)) == [])
    }

    @Test func `The last one to leave a conversation is told so, and no other`() {
        let directory = SocketDirectory()
        for slot in 1...3 as ClosedRange<UInt32> { directory.follow(chat, token(slot)) }
        #expect(!directory.unfollow(chat, token(2)))
        #expect(directory.followers(of: chat) == [token(1), token(3)])
        #expect(!directory.unfollow(chat, token(1)))
        #expect(directory.unfollow(chat, token(3)))
        #expect(directory.followers(of: chat) == [])
        directory.follow(chat, token(4))
        #expect(directory.unfollow(chat, token(4)), "who comes back is the last one again")
    }

    @Test func `Who does not follow cannot leave, and nobody else leaves in its place`() {
        let directory = SocketDirectory()
        #expect(!directory.unfollow(chat, token(1)))
        directory.follow(chat, token(1))
        #expect(!directory.unfollow(chat, token(2)))
        #expect(!directory.unfollow(other, token(1)))
        #expect(!directory.unfollow(chat, token(1, 2)), "a later socket of the same slot")
        #expect(directory.followers(of: chat) == [token(1)])
        #expect(directory.unfollow(chat, token(1)))
        #expect(!directory.unfollow(chat, token(1)))
    }

    @Test func `One that follows twice leaves once at a time`() {
        let directory = SocketDirectory()
        directory.follow(chat, token(1))
        directory.follow(chat, token(1))
        #expect(!directory.unfollow(chat, token(1)))
        #expect(directory.unfollow(chat, token(1)))
    }

    @Test func `A user's sockets are its own: the same name of another tenant is another user`() {
        let directory = SocketDirectory()
        directory.add(token(1), of: user("ann"))
        directory.add(token(2), of: user("ann"))
        directory.add(token(3), of: user("ann", tenant: 1))
        directory.add(token(4), of: user("Ann"))
        #expect(directory.sockets(of: user("ann")) == [token(1), token(2)])
        #expect(directory.sockets(of: user("ann", tenant: 1)) == [token(3)])
        #expect(directory.sockets(of: user("Ann")) == [token(4)])
        #expect(directory.sockets(of: user("ann ")) == [])
    }

    @Test func `A user's last socket is told so, and no other`() {
        let directory = SocketDirectory()
        directory.add(token(1), of: user("ann"))
        directory.add(token(2), of: user("ann"))
        #expect(!directory.remove(token(3), of: user("ann")))
        #expect(!directory.remove(token(1), of: user("bob")))
        #expect(!directory.remove(token(1), of: user("ann", tenant: 1)))
        #expect(!directory.remove(token(1), of: user("ann")))
        #expect(!directory.remove(token(1), of: user("ann")))
        #expect(directory.remove(token(2), of: user("ann")))
        #expect(!directory.remove(token(2), of: user("ann")))
        #expect(directory.sockets(of: user("ann")) == [])
    }

    @Test func `Answers that told a socket to follow are given back once, with none left over`() {
        let directory = SocketDirectory()
        directory.didAnswer(chat)
        directory.follow(chat, token(1))
        directory.didAnswer(chat)
        directory.didAnswer(other)
        #expect(directory.takeAnswers(chat) == 2)
        #expect(directory.takeAnswers(chat) == 0)
        #expect(directory.takeAnswers(other) == 1)
    }

    @Test func `Followers, users and broadcast do not know of each other`() {
        let directory = SocketDirectory()
        directory.follow(chat, token(1))
        directory.add(token(1), of: user("ann"))
        directory.addBroadcast(token(1))
        #expect(directory.unfollow(chat, token(1)))
        #expect(directory.sockets(of: user("ann")) == [token(1)])
        #expect(directory.remove(token(1), of: user("ann")))
        #expect(directory.broadcast == [token(1)])
    }

    @Test func `Broadcast sockets leave from any place, and one that is not there changes nothing`()
    {
        for leaving in 1...4 as ClosedRange<UInt32> {
            let directory = SocketDirectory()
            directory.removeBroadcast(token(leaving))
            for slot in 1...4 as ClosedRange<UInt32> { directory.addBroadcast(token(slot)) }
            directory.removeBroadcast(token(9))
            directory.removeBroadcast(token(leaving, 2))
            #expect(directory.broadcast.count == 4)
            directory.removeBroadcast(token(leaving))
            directory.removeBroadcast(token(leaving))
            let rest = (1...4).filter { $0 != leaving }.map { token($0) }
            #expect(Set(directory.broadcast) == Set(rest) && directory.broadcast.count == 3)
        }
    }
}
