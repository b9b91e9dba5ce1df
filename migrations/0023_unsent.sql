-- What was settled without reaching WhatsApp. Columns as in 0001_core.sql.

-- Why an arrival that was settled is not on WhatsApp, in words for people; empty when it is.
ALTER TABLE outcome ADD COLUMN unsent TEXT NOT NULL DEFAULT '';
