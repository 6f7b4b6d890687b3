"""What both servers are sent. A scenario is a function of one side; it yields its servers, which record answers by names that both sides
share.
"""

from scenario_inputs import files, local, scalars
from scenario_outputs import outputs, uploads
from scenario_protocol import predictions, protocol
from scenario_states import lifecycle, trainings

ALL = [scalars, protocol, trainings, outputs, uploads, files, local, lifecycle, predictions]
