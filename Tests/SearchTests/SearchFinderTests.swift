// Pages of found conversations, against a plain scan.

import Bytes
import ChatModel
import Testing

@testable import Search
@testable import Stores

private struct Said {
    let place: Place
    let user: String
    let tenant: Int
    let isInternal: Bool
    var words: Set<String>
}

/// A log of everything, as a scan sees it.
private struct Archive {
    var said: [Said] = []

    /// Conversations by their newest match, newest first.
    func find(_ wanted: [String], _ tenant: Int, _ user: String?, isAgent: Bool) -> [Place] {
        var met: Set<Identifier> = []
        var found: [Place] = []
        for item in said.reversed()
        where item.tenant == tenant && (user.map { $0 == item.user } ?? true)
            && (isAgent || !item.isInternal) && item.words.isSuperset(of: wanted)
            && met.insert(item.place.conversation).inserted
        {
            found.append(item.place)
        }
        return found
    }
}

private func fill(_ desk: SearchDesk, _ count: Int, seed: UInt64) throws -> Archive {
    var random = Random(seed: seed)
    var archive = Archive()
    let talks = (0..<24).map { Talk(user: "user\($0 % 7)", tenant: $0 % 6 == 5 ? 1 : 0) }
    for number in 0..<count {
        // One conversation has a third of everything.
        let isInARow = seed == 3 && number / 40 % 2 == 0
        let talk = talks[isInARow || random.next() % 3 == 0 ? 0 : Int(random.next() % 24)]
        let words = Set((0..<3).map { _ in "w\(random.next() % 12)x" } + ["all"])
        let text = words.sorted().joined(separator: " ")
        let kind = random.next() % 10
        let user = talk.row.userID.text
        let tenant = Int(talk.row.tenant.value)
        if kind < 2, talk.lastSeq > 0 {
            let about = random.next() % talk.lastSeq + 1
            let target = Place(conversation: talk.row.id, seq: about)
            desk.commit([talk.unit(text, kind: kind == 0 ? .edit : .redaction, about: about)])
            if let index = archive.said.firstIndex(where: { $0.place == target }) {
                let wasDeleted = archive.said[index].words.isEmpty
                archive.said[index].words = kind == 0 && !wasDeleted ? words : []
            }
        } else {
            let isInternal = kind == 9
            desk.commit([talk.unit(text, isInternal: isInternal)])
            archive.said.append(
                Said(
                    place: Place(conversation: talk.row.id, seq: talk.lastSeq), user: user,
                    tenant: tenant, isInternal: isInternal, words: words))
        }
        if number % 37 == 0 { try desk.index() }
    }
    try desk.index()
    return archive
}

@Suite struct SearchFinderTests {
    /// All pages there and back.
    private func walk(
        _ desk: SearchDesk, _ text: String, _ scope: Scope, limit: Int
    ) throws -> [Place] {
        var there: [Place] = []
        var last = FoundPage()
        var position: SearchPosition?
        var pages = 0
        repeat {
            last = try #require(desk.page(text, scope, at: position, limit: limit))
            there += last.found.map { Place(conversation: $0.conversation, seq: $0.seq) }
            position = last.next
            pages += 1
        } while position != nil && pages < 2000
        #expect(position == nil)
        var back = last.found.map { Place(conversation: $0.conversation, seq: $0.seq) }
        position = last.previous
        while let at = position, pages < 4000 {
            let page = try #require(desk.page(text, scope, at: at, .backward, limit: limit))
            back = page.found.map { Place(conversation: $0.conversation, seq: $0.seq) } + back
            position = page.previous
            pages += 1
        }
        #expect(back == there, "\(text), pages of \(limit)")
        return there
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `Pages find what a scan finds, each conversation once, both ways`(_ seed: UInt64) throws {
        let desk = try SearchDesk(isFolding: seed == 2)
        let archive = try fill(desk, 400, seed: seed)
        for budget in [SearchBudget(), SearchBudget(matches: 3, firstWindowRows: 7)] {
            desk.finder.budget = budget
            for words in [["all"], ["w1x"], ["w2x", "w3x"], ["w4x", "w5x", "w6x"], ["absent"]] {
                for (tenant, user, isAgent) in [
                    (0, nil, true), (0, "user3", true), (0, "user0", false), (1, nil, true),
                    (0, nil, false),
                ] as [(Int, String?, Bool)] {
                    let wanted = archive.find(words, tenant, user, isAgent: isAgent)
                    let scope = desk.scope(tenant, user: user, isAgent: isAgent)
                    for limit in [1, 4, 50] {
                        let found = try walk(
                            desk, words.joined(separator: " "), scope, limit: limit)
                        #expect(found == wanted, "seed \(seed) \(words) \(scope) limit \(limit)")
                    }
                }
            }
        }
    }

    @Test func `A page that has looked at enough is short, counted, and goes on`() throws {
        let desk = try SearchDesk()
        let (big, small, other) = (Talk(), Talk(user: "bob"), Talk(user: "eve"))
        desk.commit([small.unit("common")])
        for _ in 0..<500 { desk.commit([big.unit("common"), other.unit("else")]) }
        try desk.index()
        desk.finder.budget.matches = 100
        let first = try #require(desk.page("common", desk.scope()))
        #expect(first.found.map(\.conversation) == [big.row.id] && first.next != nil)
        #expect(desk.state.metrics.pagesCutOff.current == 1)
        #expect(
            try walk(desk, "common", desk.scope(), limit: 50) == [
                Place(conversation: big.row.id, seq: 500),
                Place(conversation: small.row.id, seq: 1),
            ])
        desk.finder.budget = SearchBudget(nanoseconds: 0)
        #expect(try walk(desk, "common", desk.scope(), limit: 50).count == 2)
    }

    @Test func `What one conversation has said in a row is passed over`() throws {
        let desk = try SearchDesk()
        let (big, small, silent) = (Talk(), Talk(user: "bob"), Talk(user: "eve"))
        desk.commit([small.unit("common"), silent.unit("")])
        for _ in 0..<5 {
            desk.commit((0..<100).map { _ in big.unit("common") })
            try desk.index()
        }
        // Words that come late, between what was in a row, are not passed over.
        desk.commit([silent.unit("common", kind: .edit, about: 1)])
        try desk.index()
        desk.finder.budget = SearchBudget(matches: 30, firstWindowRows: 1 << 20)
        let page = try #require(desk.page("common", desk.scope()))
        #expect(
            page.found.map(\.conversation) == [big.row.id, silent.row.id, small.row.id]
                && page.next == nil)
        #expect(desk.count("documents") == 502)
    }

    @Test func `What comes after a search has begun moves none of its pages`() throws {
        let desk = try SearchDesk()
        let talks = (0..<10).map { Talk(user: "user\($0)") }
        desk.commit(talks.map { $0.unit("word") })
        try desk.index()
        let first = try #require(desk.page("word", desk.scope(), limit: 4))
        #expect(first.found.map(\.conversation) == talks[6...].reversed().map(\.row.id))
        // One that was shown and one that was not say more.
        desk.commit([talks[8].unit("word"), talks[2].unit("word"), Talk(user: "new").unit("word")])
        try desk.index()
        let second = try #require(desk.page("word", desk.scope(), at: first.next, limit: 4))
        #expect(second.found.map(\.conversation) == talks[2..<6].reversed().map(\.row.id))
        let third = try #require(desk.page("word", desk.scope(), at: second.next, limit: 4))
        #expect(third.found.map(\.conversation) == talks[0..<2].reversed().map(\.row.id))
        #expect(third.next == nil)
    }

    @Test func `Who is not admitted is left out, and asked for once a page`() throws {
        let desk = try SearchDesk()
        let talks = (0..<6).map { Talk(user: "user\($0)") }
        desk.commit(talks.map { $0.unit("word") } + talks.map { $0.unit("word") })
        try desk.index()
        var asked: [Identifier] = []
        let page = desk.page("word", desk.scope(), limit: 3) { id in
            asked.append(id)
            return talks[0].row.id == id || talks[3].row.id == id
        }
        #expect(page?.found.map(\.conversation) == [talks[3].row.id, talks[0].row.id])
        #expect(page?.next == nil && asked == talks.reversed().map(\.row.id))
    }

    @Test(arguments: [
        SearchPosition(newest: 0, place: 0), SearchPosition(newest: .max - 1, place: .max - 1),
        SearchPosition(newest: 5, place: .max - 1), SearchPosition(newest: .max - 1, place: 0),
    ])
    func `A position that was made up ends or finds, and harms nothing`(
        _ position: SearchPosition
    ) throws {
        let desk = try SearchDesk()
        let talk = Talk()
        desk.commit((0..<20).map { talk.unit("word \($0)") })
        try desk.index()
        for direction in [PageDirection.forward, .backward] {
            let page = desk.page("word", desk.scope(), at: position, direction)
            #expect(page != nil && page?.found.count ?? 0 <= 1)
        }
    }
}
