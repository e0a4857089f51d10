"""What scikit-learn asks of an estimator, without scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any, Self

#: What `__getstate__` leaves out: made again when it is needed.
MADE_AGAIN = ("_learnt_now",)


class SklearnProtocol:
    """An estimator whose arguments are its attributes, of images and class labels.

    A subclass keeps the arguments of its constructor as they are, under their names, and has
    `classes_` once it is fitted.

    Example:
    ```python
    from kfsl.classifier.sklearn_protocol import SklearnProtocol

    class Constant(SklearnProtocol):
        def __init__(self, answer="cat"):
            self.answer = answer

    assert Constant().set_params(answer="dog").get_params() == {"answer": "dog"}
    ```
    """

    @classmethod
    def _argument_names(cls) -> list[str]:
        names = list(inspect.signature(cls.__init__).parameters)
        return names[1:]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor.

        Args:
            deep: bool. For scikit-learn's sake: no argument has arguments of its own.

        Returns:
            dict.
        """
        del deep
        return {name: getattr(self, name) for name in self._argument_names()}

    def set_params(self, **params: Any) -> Self:
        """Changes arguments; the next `fit` uses them.

        Args:
            **params: arguments of the constructor.

        Returns:
            Itself.

        Raises:
            ValueError: for an argument that there is not.
        """
        names = self._argument_names()
        for name in params:
            if name not in names:
                raise ValueError(
                    f"Invalid parameter {name!r} for {type(self).__name__}: its parameters are "
                    f"{', '.join(names)}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether it has a support set."""
        return hasattr(self, "classes_")

    def check_fitted(self) -> None:
        """Refuses to answer before `fit`.

        Raises:
            ValueError: scikit-learn's `NotFittedError`, where that is installed.
        """
        if not self.is_fitted:
            raise _not_fitted_error()(
                f"This {type(self).__name__} is not fitted yet: call `fit` with images of each "
                "class first."
            )

    def __repr__(self) -> str:
        """The arguments that differ from their defaults."""
        parameters = inspect.signature(type(self).__init__).parameters
        given = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not parameters[name].default and value != parameters[name].default
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in MADE_AGAIN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(dict.fromkeys(MADE_AGAIN), **state)

    def __sklearn_is_fitted__(self) -> bool:
        return self.is_fitted

    def __sklearn_clone__(self) -> Self:
        # Not copies of networks: they are frozen, and large.
        return type(self)(**self.get_params())

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, three_d_array=True, string=True),
        )


def _not_fitted_error() -> type[ValueError]:
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        return ValueError
    return NotFittedError
