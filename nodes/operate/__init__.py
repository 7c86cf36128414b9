"""What a partner's engineer does: enrol, check, rehearse, back up."""
