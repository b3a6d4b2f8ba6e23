// Owner: one reader thread. Finds the conversations with certain words, newest match first, each
// conversation once over all pages.
//
// A conversation is shown at its newest match, and nowhere else. The walk goes over the matches in
// the order of their places, from SearchPosition.newest down: what came since the search began
// moves nothing. On the first page a match is its conversation's newest if the page has not met
// the conversation before. Later pages do not know what was shown; they ask the index whether the
// conversation has a match between this one and `newest` (one more query of some 100 µs, with the
// conversation's own token, whose list is as short as the conversation). No page keeps anything for
// the next but two numbers in its cursor.
//
// Bounds. Matches of a conversation that has very many are walked over at some 1 µs each, unless
// they stand in a row with nothing of others between them: then they are passed over. A search for
// two frequent words that never meet compares two long lists without a single match. The
// walk therefore goes in windows of places, which grow while they are cheap, and ends when the page
// has used budget.nanoseconds of this thread's processor time, or looked at budget.matches: it is
// short then, and its cursor goes on where it ended. SQLite looks a beginning (invo*) up as a
// whole, all its words and all their places, so there is one window then, and the least bytes of a
// beginning are bounded (Limits.searchPrefixBytesMin).
//
// The index only proposes. Tenant, user and filters are those of the conversation's row (`admits`),
// and whether an entry is internal is asked of the log.

import Bytes
import CLinux
import ChatModel
import Stores

struct SearchBudget {
    var nanoseconds = Limits.searchNanosecondsMax
    var matches = Limits.searchMatchesMax
    /// Rows of the log in the first window.
    var firstWindowRows: Int64 = 4096
}

final class SearchFinder: ConversationFinder {
    private let state: SearchState
    private let log: LogFollower
    private let text = SearchText()
    private let expression = ByteWriter(capacity: 1024)
    private var reading: SearchReading?
    var budget = SearchBudget()

    init(_ state: SearchState, _ log: LogFollower) {
        self.state = state
        self.log = log
    }

    func find(_ query: SearchQuery, admits: (Identifier) -> Bool) -> FoundPage? {
        let generation = state.currentGeneration
        guard generation > 0 else { return nil }
        do throws(SQLiteError) {
            if reading?.generation != generation {
                reading = nil
                reading = try SearchReading(path: state.path, generation: generation)
            }
            guard let reading else { return nil }
            state.metrics.pages.add()
            return try page(query, reading, admits)
        } catch {
            reading = nil
            if error.isCorruption { state.didFindDamage(in: generation) }
            return nil
        }
    }

    // MARK: A page

    /// Matches of conversations that the page has decided on, one after the other, before the walk
    /// passes over the rest of a run: that costs a query of its own.
    private static let repeatsBeforePassing = 16

    private struct Walk {
        var found: [FoundConversation] = []
        var met: Set<Identifier> = []
        var matches = 0
        /// The last place that was looked at; all on the way to it were.
        var edge: Int64
        var wasCutOff = false
    }

    private func page(
        _ query: SearchQuery, _ reading: SearchReading, _ admits: (Identifier) -> Bool
    ) throws(SQLiteError) -> FoundPage {
        var page = FoundPage()
        guard query.expression.count > 0 else { return page }
        let newest: Int64
        if let position = query.position {
            newest = position.newest
        } else {
            newest = try reading.newestPlace()
        }
        let isForward = query.direction == .forward
        let start = query.position?.place ?? newest + 1
        var walk = Walk(edge: start)
        let owner = OwnerTokens(
            tenant: query.scope.tenantName.bytes, userID: query.scope.userID?.bytes)
        try self.walk(query, reading, owner, newest: newest, &walk, admits)
        let hasMore = walk.found.count > query.limit
        if hasMore {
            walk.found.removeLast()
            walk.edge = walk.found[walk.found.count - 1].place
        }
        // With nothing to show the other direction begins so that it shows what stands at `start`.
        let beyond = isForward ? max(0, start - 1) : min(start + 1, .max - 1)
        let near = walk.found.first?.place ?? beyond
        let edge =
            hasMore || walk.wasCutOff ? SearchPosition(newest: newest, place: walk.edge) : nil
        let back =
            query.position == nil ? nil : SearchPosition(newest: newest, place: near)
        if walk.wasCutOff { state.metrics.pagesCutOff.add() }
        page.found = isForward ? walk.found : walk.found.reversed()
        page.next = isForward ? edge : back
        page.previous = isForward ? back : edge
        return page
    }

    private func walk(
        _ query: SearchQuery, _ reading: SearchReading, _ owner: OwnerTokens, newest: Int64,
        _ walk: inout Walk, _ admits: (Identifier) -> Bool
    ) throws(SQLiteError) {
        let isForward = query.direction == .forward
        let began = cl_thread_cpu_nanoseconds()
        expression.removeAll()
        owner.write(finding: query.expression, in: query.scope, into: expression)
        let wanted = expression.block()
        var repeats = 0
        // A beginning is looked up as a whole for each window: then there is one.
        let isBeginning = query.expression.isBeginning
        var span: Int64 =
            isBeginning ? Int64.max / 2 : LogFollower.firstPlace(inRow: budget.firstWindowRows)
        while isForward ? walk.edge > 0 : walk.edge < newest {
            // [low, high): forward all below the edge, backward all above it.
            let low = isForward ? max(0, walk.edge - span) : walk.edge + 1
            let high =
                isForward ? walk.edge : walk.edge + 1 + min(span, newest - walk.edge)
            let statement = isForward ? reading.descending : reading.ascending
            defer { statement.reset() }
            statement.bind(1, text: wanted)
            statement.bind(2, low)
            statement.bind(3, high)
            var isPassingOver = false
            while !isPassingOver, try statement.step() {
                walk.edge = statement.integer(0)
                walk.matches += 1
                let words = statement.words(1)
                let conversation = Identifier(high: words.high, low: words.low)
                if walk.met.contains(conversation) {
                    repeats += 1
                    let run = statement.integer(3)
                    if isForward, repeats >= Self.repeatsBeforePassing, run < walk.edge {
                        walk.edge = run
                        isPassingOver = true
                        repeats = 0
                    }
                } else {
                    repeats = 0
                    try look(
                        at: conversation, seq: statement.unsigned(2), query, reading, owner,
                        newest: newest, &walk, admits)
                    if walk.found.count > query.limit { return }
                }
                if walk.matches >= budget.matches
                    || walk.matches % 32 == 0 && isSpent(since: began)
                {
                    walk.wasCutOff = true
                    return
                }
            }
            if isPassingOver { continue }
            walk.edge = isForward ? low : high - 1
            span = span > Int64.max / 8 ? span : span * 4
            if isSpent(since: began), isForward ? walk.edge > 0 : walk.edge < newest {
                walk.wasCutOff = true
                return
            }
        }
    }

    private func isSpent(since began: UInt64) -> Bool {
        cl_thread_cpu_nanoseconds() - began >= budget.nanoseconds
    }

    /// The match at `walk.edge`, of a conversation that the page has not decided on.
    private func look(
        at conversation: Identifier, seq: UInt64, _ query: SearchQuery, _ reading: SearchReading,
        _ owner: OwnerTokens, newest: Int64, _ walk: inout Walk, _ admits: (Identifier) -> Bool
    ) throws(SQLiteError) {
        let place = walk.edge
        if query.position != nil {
            expression.removeAll()
            owner.write(
                finding: query.expression, in: query.scope, of: conversation, into: expression)
            let isOlder = try reading.hasMatch(expression.block(), behind: place, through: newest)
            if isOlder {
                // Walking up, a newer one is still to come.
                if query.direction == .forward { walk.met.insert(conversation) }
                return
            }
        }
        walk.met.insert(conversation)
        // An entry that the log cannot give is the store's trouble, and not the index's.
        guard admits(conversation), let entry = (try? log.entry(at: place)) ?? nil,
            entry.conversation == conversation, query.scope.showsInternal || !entry.isInternal
        else { return }
        var shown = entry
        if let latest = try reading.version(of: place), latest > 0,
            let edit = (try? log.entry(at: latest)) ?? nil
        {
            shown = edit
        }
        walk.found.append(
            FoundConversation(
                conversation: conversation, place: place, seq: seq, message: entry.id,
                snippet: Snippet.make(of: text.text(of: shown.body) ?? .empty, query.expression)))
    }
}

extension ByteBlock {
    /// An expression of SearchWords that ends with the beginning of a word.
    fileprivate var isBeginning: Bool { count > 0 && bytes.byte(at: count - 1) == 0x2A }
}

/// A finder's view of the index's file.
final class SearchReading {
    let generation: Int
    private let connection: SQLiteConnection
    let descending: SQLiteStatement
    let ascending: SQLiteStatement
    private let newest: SQLiteStatement
    private let newer: SQLiteStatement
    private let latest: SQLiteStatement

    init(path: String, generation: Int) throws(SQLiteError) {
        self.generation = generation
        connection = try SQLiteConnection(path: path, isReadOnly: true)
        try connection.run(
            "PRAGMA query_only=ON; PRAGMA cache_size=-16384; PRAGMA mmap_size=268435456")
        let matches = """
            SELECT found.rowid, conversation, seq, run FROM found CROSS JOIN documents
            ON documents.place = found.rowid
            WHERE found MATCH ? AND found.rowid >= ? AND found.rowid < ? ORDER BY found.rowid
            """
        ascending = try connection.prepare(matches)
        descending = try connection.prepare(matches + " DESC")
        newest = try connection.prepare("SELECT max(place) FROM documents")
        newer = try connection.prepare(
            "SELECT 1 FROM found WHERE found MATCH ? AND rowid > ? AND rowid <= ? LIMIT 1")
        latest = try connection.prepare("SELECT latest FROM versions WHERE place=?")
    }

    func newestPlace() throws(SQLiteError) -> Int64 {
        defer { newest.reset() }
        return try newest.step() ? newest.integer(0) : 0
    }

    func hasMatch(
        _ expression: ByteBlock, behind place: Int64, through newest: Int64
    ) throws(SQLiteError) -> Bool {
        defer { newer.reset() }
        newer.bind(1, text: expression)
        newer.bind(2, place)
        newer.bind(3, newest)
        return try newer.step()
    }

    /// As SearchIndex.version(of:).
    func version(of place: Int64) throws(SQLiteError) -> Int64? {
        defer { latest.reset() }
        latest.bind(1, place)
        return try latest.step() ? latest.integer(0) : nil
    }
}
