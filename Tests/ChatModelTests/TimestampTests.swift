import Bytes
import Testing

@testable import ChatModel

/// Unix milliseconds with both spellings; made by Python's datetime, which knows the calendar.
struct KnownDate: Sendable, CustomTestStringConvertible {
    var milliseconds: UInt64
    var timestamp: String
    var httpDate: String

    init(_ milliseconds: UInt64, _ timestamp: String, _ httpDate: String) {
        self.milliseconds = milliseconds
        self.timestamp = timestamp
        self.httpDate = httpDate
    }

    var testDescription: String { timestamp }
}

private let knownDates: [KnownDate] = [
    KnownDate(0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
    KnownDate(86_399_999, "1970-01-01T23:59:59.999Z", "Thu, 01 Jan 1970 23:59:59 GMT"),
    KnownDate(31_535_999_001, "1970-12-31T23:59:59.001Z", "Thu, 31 Dec 1970 23:59:59 GMT"),
    KnownDate(68_212_800_000, "1972-02-29T12:00:00.000Z", "Tue, 29 Feb 1972 12:00:00 GMT"),
    KnownDate(68_256_000_000, "1972-03-01T00:00:00.000Z", "Wed, 01 Mar 1972 00:00:00 GMT"),
    KnownDate(946_684_799_999, "1999-12-31T23:59:59.999Z", "Fri, 31 Dec 1999 23:59:59 GMT"),
    KnownDate(946_684_800_000, "2000-01-01T00:00:00.000Z", "Sat, 01 Jan 2000 00:00:00 GMT"),
    KnownDate(951_782_399_999, "2000-02-28T23:59:59.999Z", "Mon, 28 Feb 2000 23:59:59 GMT"),
    KnownDate(951_782_400_000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
    KnownDate(951_868_799_999, "2000-02-29T23:59:59.999Z", "Tue, 29 Feb 2000 23:59:59 GMT"),
    KnownDate(951_868_800_000, "2000-03-01T00:00:00.000Z", "Wed, 01 Mar 2000 00:00:00 GMT"),
    KnownDate(1_000_000_000_000, "2001-09-09T01:46:40.000Z", "Sun, 09 Sep 2001 01:46:40 GMT"),
    KnownDate(1_078_034_828_090, "2004-02-29T06:07:08.090Z", "Sun, 29 Feb 2004 06:07:08 GMT"),
    KnownDate(1_677_628_799_999, "2023-02-28T23:59:59.999Z", "Tue, 28 Feb 2023 23:59:59 GMT"),
    KnownDate(1_677_628_800_000, "2023-03-01T00:00:00.000Z", "Wed, 01 Mar 2023 00:00:00 GMT"),
    KnownDate(1_709_212_455_016, "2024-02-29T13:14:15.016Z", "Thu, 29 Feb 2024 13:14:15 GMT"),
    KnownDate(1_735_603_200_005, "2024-12-31T00:00:00.005Z", "Tue, 31 Dec 2024 00:00:00 GMT"),
    KnownDate(1_795_426_196_120, "2026-11-23T09:29:56.120Z", "Mon, 23 Nov 2026 09:29:56 GMT"),
    KnownDate(2_147_483_648_000, "2038-01-19T03:14:08.000Z", "Tue, 19 Jan 2038 03:14:08 GMT"),
    KnownDate(3_981_312_000_000, "2096-02-29T00:00:00.000Z", "Wed, 29 Feb 2096 00:00:00 GMT"),
    KnownDate(4_107_542_399_999, "2100-02-28T23:59:59.999Z", "Sun, 28 Feb 2100 23:59:59 GMT"),
    KnownDate(4_107_542_400_000, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT"),
    KnownDate(4_133_980_799_000, "2100-12-31T23:59:59.000Z", "Fri, 31 Dec 2100 23:59:59 GMT"),
    KnownDate(7_263_216_000_000, "2200-03-01T00:00:00.000Z", "Sat, 01 Mar 2200 00:00:00 GMT"),
    KnownDate(13_574_566_923_004, "2400-02-29T01:02:03.004Z", "Tue, 29 Feb 2400 01:02:03 GMT"),
    KnownDate(253_402_300_799_999, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT"),
]

private func timestamp(_ milliseconds: UInt64) -> String {
    let writer = ByteWriter(capacity: 32)
    writer.append(timestamp: milliseconds)
    return writer.string()
}

private func httpDate(_ milliseconds: UInt64) -> String {
    let writer = ByteWriter(capacity: 32)
    writer.append(httpDate: milliseconds)
    return writer.string()
}

/// The slow calendar: one day after another, by the rule of the leap years.
private struct SlowCalendar {
    var year = 1970
    var month = 1
    var day = 1

    static func isLeap(_ year: Int) -> Bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    mutating func step() {
        let days = [31, Self.isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        day += 1
        if day > days[month - 1] { (day, month) = (1, month + 1) }
        if month > 12 { (month, year) = (1, year + 1) }
    }
}

@Suite struct TimestampTests {
    @Test(arguments: knownDates)
    func `A known time is written as RFC 3339 and as an HTTP date`(_ date: KnownDate) {
        #expect(timestamp(date.milliseconds) == date.timestamp)
        #expect(httpDate(date.milliseconds) == date.httpDate)
    }

    @Test func `Every day from 1970 to 2500 has the date that counting gives`() {
        var calendar = SlowCalendar()
        var isRight = true
        for dayCount in 0..<(531 * 366) {
            for millisecond in [0, 86_399_999] as [UInt64] {
                let date = CivilDate(milliseconds: UInt64(dayCount) * 86_400_000 + millisecond)
                if date.dayCount != dayCount || date.year != calendar.year
                    || date.month != calendar.month || date.day != calendar.day
                {
                    isRight = false
                    Issue.record("day \(dayCount): \(date) is not \(calendar)")
                }
            }
            if !isRight { break }
            calendar.step()
        }
        #expect(isRight)
        #expect(calendar.year >= 2500)
    }

    @Test func `Every second of a day is written in its place`() {
        var wrong: [UInt64] = []
        for second in UInt64(0)..<86_400 {
            let date = CivilDate(milliseconds: second * 1000 + 999)
            let total = UInt64(date.hour * 3600 + date.minute * 60 + date.second)
            if total != second || date.minute > 59 || date.second > 59 { wrong.append(second) }
        }
        #expect(wrong == [])
    }

    @Test func `Milliseconds always have three digits`() {
        #expect(timestamp(0).hasSuffix(".000Z"))
        #expect(timestamp(1).hasSuffix(".001Z"))
        #expect(timestamp(10).hasSuffix(".010Z"))
        #expect(timestamp(999).hasSuffix("59.999Z") == false)
        #expect(timestamp(999) == "1970-01-01T00:00:00.999Z")
        #expect(timestamp(1000) == "1970-01-01T00:00:01.000Z")
    }

    @Test func `An HTTP date drops the milliseconds and never rounds up`() {
        #expect(httpDate(59_999) == "Thu, 01 Jan 1970 00:00:59 GMT")
        #expect(httpDate(60_000) == "Thu, 01 Jan 1970 00:01:00 GMT")
    }

    @Test func `Texts sort like the times that they stand for`() {
        var random = Random(seed: 5)
        let times = (0..<1000).map { _ in random.next() % 253_402_300_800_000 }.sorted()
        let texts = times.map(timestamp)
        #expect(texts == texts.sorted())
        #expect(texts.allSatisfy { $0.utf8.count == 24 })
        #expect(times.map(httpDate).allSatisfy { $0.utf8.count == 29 })
    }
}
