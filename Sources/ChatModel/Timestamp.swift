// Times as text: RFC 3339 with milliseconds for JSON, and the date of HTTP.

import Bytes

extension ByteWriter {
    /// Unix milliseconds as an RFC 3339 UTC time with milliseconds, 24 bytes, without quotes.
    public func append(timestamp milliseconds: UInt64) {
        let date = CivilDate(milliseconds: milliseconds)
        append(decimal: UInt64(date.year), digits: 4)
        append(0x2D)
        append(decimal: UInt64(date.month), digits: 2)
        append(0x2D)
        append(decimal: UInt64(date.day), digits: 2)
        append(0x54)
        append(decimal: UInt64(date.hour), digits: 2)
        append(0x3A)
        append(decimal: UInt64(date.minute), digits: 2)
        append(0x3A)
        append(decimal: UInt64(date.second), digits: 2)
        append(0x2E)
        append(decimal: milliseconds % 1000, digits: 3)
        append(0x5A)
    }

    /// Unix milliseconds as an HTTP date, 29 bytes (RFC 9110 section 5.6.7).
    public func append(httpDate milliseconds: UInt64) {
        let date = CivilDate(milliseconds: milliseconds)
        let days: [StaticString] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months: [StaticString] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        append(days[date.dayCount % 7])
        append(", ")
        append(decimal: UInt64(date.day), digits: 2)
        append(0x20)
        append(months[date.month - 1])
        append(0x20)
        append(decimal: UInt64(date.year), digits: 4)
        append(0x20)
        append(decimal: UInt64(date.hour), digits: 2)
        append(0x3A)
        append(decimal: UInt64(date.minute), digits: 2)
        append(0x3A)
        append(decimal: UInt64(date.second), digits: 2)
        append(" GMT")
    }
}

/// A proleptic Gregorian date in UTC, from the number of days since 1970-01-01.
/// The year is taken to start in March, so that the leap day comes last (Howard Hinnant,
/// "chrono-compatible low-level date algorithms").
public struct CivilDate {
    public let dayCount: Int
    public let year: Int
    public let month: Int
    public let day: Int
    public let hour: Int
    public let minute: Int
    public let second: Int

    public init(milliseconds: UInt64) {
        let seconds = Int(milliseconds / 1000)
        dayCount = seconds / 86_400
        let secondOfDay = seconds % 86_400
        hour = secondOfDay / 3600
        minute = secondOfDay / 60 % 60
        second = secondOfDay % 60
        let shifted = dayCount + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}
